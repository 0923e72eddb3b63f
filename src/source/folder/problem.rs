//! What is wrong with a file, told to the one who wrote it.

use std::fmt;

use serde::Serialize;

use crate::translate::ObjectRef;

/// Something about a file or an object in it: where, what, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct SourceProblem {
    pub file: String,
    /// Counts from 1, as `column` does; absent where the whole file is meant.
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub object: Option<ObjectRef>,
    pub reason: String,
}

/// `file:line:column: object: reason`, as editors and terminals understand it.
impl fmt::Display for SourceProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        match &self.object {
            Some(object) => write!(f, ": {object}: {}", self.reason),
            None => write!(f, ": {}", self.reason),
        }
    }
}
