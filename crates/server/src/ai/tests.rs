//! The processors through their front.
