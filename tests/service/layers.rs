//! The layers around the services, over real connections: keys, limits, deadlines, shutdown, TLS,
//! traces. The services are tonic's own health and reflection.

mod server;
mod stack;
mod tls;
mod traces;
