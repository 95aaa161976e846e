//! The contract of `wit/hookswitch.wit` in Rust: its types and the functions that a policy may call. Generated, once for all policies.
#![allow(missing_docs, unreachable_pub, clippy::all)]

wit_bindgen::generate!({
    path: "../wit",
    world: "imports",
    generate_unused_types: true,
    additional_derives: [PartialEq, Eq],
});
