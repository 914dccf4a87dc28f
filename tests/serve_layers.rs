//! The layers around the services, over real connections: keys, limits, deadlines, shutdown, TLS,
//! traces. The services are tonic's own health and reflection.

#[path = "serve_layers/server.rs"]
mod server;
#[path = "serve_layers/stack.rs"]
mod stack;
#[path = "serve_layers/tls.rs"]
mod tls;
#[path = "serve_layers/traces.rs"]
mod traces;
