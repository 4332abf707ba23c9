//! Placeholder of the founder's room.
