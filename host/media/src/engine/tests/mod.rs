//! The engine as a whole, on a virtual clock.

mod calls;
mod connections;
mod hostile;
mod keys;
mod long;
mod looks;
mod renegotiations;
mod sessions;
mod transcoding;
mod world;
