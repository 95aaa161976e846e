//! Ladders: what the proxy does in one situation each, message by message, on the virtual clock.

mod acks;
mod basic_calls;
mod best_response;
mod cancel;
mod cancel_asks;
mod credentials;
mod cseq;
mod dialogs;
mod forking;
mod hang_up;
mod media;
mod outbound;
mod overload;
mod policy;
mod registration;
mod relayed_registration;
mod reloads;
mod restarts;
mod routing;
mod timeouts;
mod transport;
mod trunks;
mod two_hundred;
