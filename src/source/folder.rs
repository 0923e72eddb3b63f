//! A folder (or one file) of YAML and JSON, watched.
