//! Where objects come from.

pub mod folder;
