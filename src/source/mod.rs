//! Where it comes from what is served: objects from a folder or a cluster, or all of it from one configuration file.

mod contents;
pub mod file;
pub mod folder;
pub mod kubernetes;
pub mod resolve;
mod watched;

pub use watched::WatchEnded;
