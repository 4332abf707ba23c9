//! The LaunchKit service.
