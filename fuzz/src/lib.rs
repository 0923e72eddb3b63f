//! One oracle per target: `judge` takes any bytes and panics if what must hold of them does not.
//!
//! libFuzzer calls it with what it finds (`fuzz_targets/`), and `tests/fuzz.rs` with the corpus and seeded mutations of it, so
//! that `make test` runs it on stable Rust. Input that is structured is read from the bytes with `arbitrary`.

mod answers;
pub mod bodies;
pub mod config_model;
pub mod forwarded;
mod frames;
pub mod h1_e2e;
pub mod h1_response;
pub mod h2_e2e;
pub mod h2_to_h1;
pub mod host_sni;
pub mod k8s_objects;
mod legal;
pub mod path;
pub mod policy;
pub mod preparse;
pub mod proxy_protocol;
mod requests;
pub mod router_model;
mod rules;
pub mod secret_pem;
mod served;
