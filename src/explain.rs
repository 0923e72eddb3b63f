//! What is served and why, for people: the table of routes, and what would become of one request. Asked by `cli` and by
//! `admin`; answers with the very tables and functions that requests use.

mod lost;
mod question;
mod request;
mod routes;
mod rules;
#[cfg(test)]
mod tests;
mod text;

pub use question::{NoQuestion, Question};
pub use request::{Answer, Explanation, Rule, Site, explain};
pub use routes::{routes_as_json, routes_as_text};
