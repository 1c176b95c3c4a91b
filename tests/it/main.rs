//! One test binary: the program as a whole, over sockets and pipes.

mod call;
#[cfg(unix)]
mod callback_flood;
mod cli;
mod client;
mod doctor;
mod dpop;
mod eras;
mod eras_auto;
mod eras_loss;
mod eras_matrix;
mod failures;
mod grants;
mod hostile;
mod http_sse;
mod id_jag;
mod instances;
mod jwt_bearer;
mod library;
mod local_faults;
mod manual;
#[cfg(target_os = "linux")]
mod memory;
mod messages;
mod process_life;
mod readme;
mod requirements;
#[cfg(unix)]
mod secrets;
mod session;
mod setup;
mod sign_in;
mod sign_in_callback;
mod sign_in_discovery;
mod sign_in_elsewhere;
mod sign_in_later;
mod sign_in_pending;
mod sign_in_refusals;
mod sign_in_registration;
mod sign_in_scopes;
mod sign_in_support;
mod staged_failures;
mod streams;
mod supply;
mod support;
mod switches;
mod tidy;
mod tls;
mod tokens;
mod tokens_leaving;
#[cfg(unix)]
mod tokens_store;
mod transport_faults;
mod usage;
