//! Connections: ureq agents, name resolution, the SSRF guard, proxies, TCP and TLS.

pub(crate) mod agent;
pub(crate) mod buffers;
pub(crate) mod connector;
pub(crate) mod proxy;
pub(crate) mod resolver;
pub(crate) mod ssrf;
pub(crate) mod tls;
pub(crate) mod tls_transport;
