//! Where objects come from.

pub mod folder;
pub mod resolve;
