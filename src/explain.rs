//! What is served and why, for people: the table of routes, and what would become of one request. Asked by `cli` and by
//! `admin`; answers with the very tables and functions that requests use.

mod routes;

pub use routes::{routes_as_json, routes_as_text};
