//! The data plane.

pub mod admission;
pub mod listener;
mod seldom;
