//! The engine as a whole, on a virtual clock.

mod calls;
mod connections;
mod keys;
mod looks;
mod renegotiations;
mod sessions;
mod transcoding;
mod world;
