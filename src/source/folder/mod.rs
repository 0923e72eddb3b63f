//! A folder (or one file) of YAML and JSON, watched.

mod admit;
mod decode;
mod files;
mod node;
mod object;
mod parse;
mod problem;
mod reader;

pub use files::{View, view_of};
pub use object::Object;
pub use parse::{Located, Parsed, parse_documents};
pub use problem::SourceProblem;
