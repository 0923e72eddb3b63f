//! Wiring: start order, readiness, drain order.
