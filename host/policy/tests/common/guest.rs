//! Guests of a few lines of WAT, made into components of our contract.
//!
//! A hook's body leaves the address of its result; these make one: `next`, `(call $decide (i32.const CASE))`,
//! `(call $reply (i32.const STATUS))`, `(call $set-status …)`, `$fault`. These do something: `$stamp` appends `X-Trail: NAME`, `$edit-via`
//! leaves the edit's result, `$target`, `$remember` (attributes of transaction and call), `$identify`, `$say`, `$spin`, `$eat`, `$sleep`;
//! `$skip` and `$upstreams` are the contract's own.
//! Of `auth`: `$judge` and `$challenge`, `$judge-token` and `$challenge-token` answer with what came of it.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A guest in the making.
pub struct Guest {
    name: &'static str,
    hooks: Vec<(&'static str, String)>,
    configure: Option<String>,
    imports: String,
    core_imports: String,
    globals: String,
}

/// What a hook is: function, core parameters.
const HOOKS: [(&str, &str, &str); 6] = [
    ("connect-hook", "on-connect", "i32"),
    (
        "register-hook",
        "on-register",
        "i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32",
    ),
    (
        "request-hook",
        "on-request",
        "i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32",
    ),
    ("branch-hook", "on-branch", "i32"),
    (
        "response-hook",
        "on-response",
        "i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32",
    ),
    (
        "failure-hook",
        "on-failure",
        "i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32",
    ),
];

/// Parts of WASI that can wait.
const WASI: &str = "
    package test:guest;
    world guest { include hookswitch:policy/imports@0.1.0; IMPORTS EXPORTS }
";
const WASI_IO: &str = "
    package wasi:io@0.2.0;
    interface poll { resource pollable { block: func(); } }
";
const WASI_CLOCKS: &str = "
    package wasi:clocks@0.2.0;
    interface monotonic-clock {
        use wasi:io/poll@0.2.0.{pollable};
        subscribe-duration: func(when: u64) -> pollable;
    }
";

impl Guest {
    /// `name` is what it stamps.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            hooks: Vec::new(),
            configure: None,
            imports: String::new(),
            core_imports: String::new(),
            globals: String::new(),
        }
    }

    /// A hook by the name of its interface.
    pub fn hook(mut self, interface: &'static str, body: &str) -> Self {
        self.hooks.push((interface, body.to_owned()));
        self
    }

    pub fn request(self, body: &str) -> Self {
        self.hook("request-hook", body)
    }

    /// `lifecycle.configure`: parameters 0 and 1 are the JSON.
    pub fn configure(mut self, body: &str) -> Self {
        self.configure = Some(body.to_owned());
        self
    }

    /// `$sleep` works: ten seconds.
    pub fn sleeps(mut self) -> Self {
        self.imports
            .push_str("import wasi:clocks/monotonic-clock@0.2.0;");
        self.core_imports.push_str(
            r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $subscribe (param i64) (result i32)))
               (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))"#,
        );
        self.globals
            .push_str("(func $sleep (call $block (call $subscribe (i64.const 10000000000))))");
        self
    }

    pub fn build(self) -> Vec<u8> {
        let exports = self
            .hooks
            .iter()
            .map(|(interface, _)| format!("export hookswitch:policy/{interface}@0.1.0;"));
        let lifecycle = self
            .configure
            .as_ref()
            .map(|_| "export hookswitch:policy/lifecycle@0.1.0;".to_owned());
        let exports: String = exports.chain(lifecycle).collect();
        let world = WASI
            .replace("IMPORTS", &self.imports)
            .replace("EXPORTS", &exports);
        let mut resolve = Resolve::default();
        resolve.push_dir("../../wit").unwrap();
        resolve.push_str("io.wit", WASI_IO).unwrap();
        resolve.push_str("clocks.wit", WASI_CLOCKS).unwrap();
        let package = resolve.push_str("guest.wit", &world).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        let mut module = wat::parse_str(self.core()).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
            .unwrap();
        ComponentEncoder::default()
            .module(&module)
            .unwrap()
            .encode()
            .unwrap()
    }

    fn core(&self) -> String {
        let hooks: String = self
            .hooks
            .iter()
            .map(|(interface, body)| hook(interface, body))
            .collect();
        let configure = self.configure.as_ref().map_or(String::new(), |body| {
            format!(
                r#"(func (export "hookswitch:policy/lifecycle@0.1.0#configure") (param i32 i32) (result i32) {body})"#
            )
        });
        let (name, bytes) = (self.name, self.name.len());
        let (core_imports, globals) = (&self.core_imports, &self.globals);
        format!(
            r#"(module
            (import "hookswitch:policy/message@0.1.0" "append-header" (func $append (param i32 i32 i32 i32 i32)))
            (import "hookswitch:policy/target@0.1.0" "add-upstream" (func $add-upstream (param i32 i32 i32 i32)))
            (import "hookswitch:policy/target@0.1.0" "set-media" (func $set-media (param i32 i32 i32 i32)))
            (import "hookswitch:policy/transaction@0.1.0" "set-attribute" (func $set-transaction (param i32 i32 i32 i32 i32 i32)))
            (import "hookswitch:policy/call@0.1.0" "set-attribute" (func $set-call (param i32 i32 i32 i32 i32 i32)))
            (import "hookswitch:policy/source@0.1.0" "set-identity" (func $set-identity (param i32 i32 i32)))
            (import "hookswitch:policy/target@0.1.0" "upstreams" (func $upstreams (param i32)))
            (import "hookswitch:policy/hooks@0.1.0" "skip" (func $skip (param i32)))
            (import "hookswitch:policy/auth@0.1.0" "digest" (func $digest (param i32 i32 i32 i32)))
            (import "hookswitch:policy/auth@0.1.0" "digest-challenge" (func $digest-challenge (param i32 i32 i32 i32 i32)))
            (import "hookswitch:policy/auth@0.1.0" "bearer" (func $bearer (param i32 i32 i32 i32 i32)))
            (import "hookswitch:policy/auth@0.1.0" "bearer-challenge" (func $bearer-challenge (param i32 i32 i32 i32 i32 i32 i32)))
            (import "hookswitch:policy/source@0.1.0" "set-identity-until" (func $set-until (param i32 i32 i64 i32)))
            (import "hookswitch:policy/target@0.1.0" "is-local" (func $is-local (param i32 i32) (result i32)))
            (import "hookswitch:policy/log@0.1.0" "write" (func $log (param i32 i32 i32)))
            {core_imports}
            (memory (export "memory") 2)
            (global $calls (mut i32) (i32.const 0))
            (global $heap (mut i32) (i32.const 65536))
            (data (i32.const 16) "{name}")
            (data (i32.const 64) "X-Trail")
            (data (i32.const 80) "Via")
            (data (i32.const 96) "pbx")
            (data (i32.const 112) "123456789")
            (data (i32.const 128) "example.com")
            (data (i32.const 144) "sip:bob@example.com")
            (data (i32.const 176) "eyJhbGciOiJFUzI1NiJ9.e30.AA")
            (data (i32.const 208) "invalid_token")
            (data (i32.const 224) "direct")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
                (global.get $heap)
                (global.set $heap (i32.add (global.get $heap) (local.get 3))))
            (func $decide (param $case i32) (result i32)
                (i32.store (i32.const 1024) (i32.const 0))
                (i32.store (i32.const 1028) (local.get $case))
                (i32.const 1024))
            (func $next (result i32) (call $decide (i32.const 0)))
            (func $reply-of (param $case i32) (param $status i32) (result i32)
                (i32.store16 (i32.const 1032) (local.get $status))
                (call $decide (local.get $case)))
            (func $reply (param $status i32) (result i32) (call $reply-of (i32.const 2) (local.get $status)))
            (func $set-status (param $status i32) (result i32)
                (drop (call $decide (i32.const 2)))
                (i32.store16 (i32.const 1030) (local.get $status))
                (i32.const 1024))
            (func $fault (result i32)
                (i32.store (i32.const 1024) (i32.const 1))
                (i32.store (i32.const 1028) (i32.const 16)) (i32.store (i32.const 1032) (i32.const {bytes}))
                (i32.store (i32.const 1036) (i32.const 96)) (i32.store (i32.const 1040) (i32.const 3))
                (i32.const 1024))
            (func $stamp
                (call $append (i32.const 64) (i32.const 7) (i32.const 16) (i32.const {bytes}) (i32.const 2048)))
            (func $edit-via (result i32)
                (call $append (i32.const 80) (i32.const 3) (i32.const 16) (i32.const {bytes}) (i32.const 2048))
                (i32.load8_u (i32.const 2048)))
            (func $target (call $add-upstream (i32.const 96) (i32.const 3) (i32.const 0) (i32.const 2048)))
            (func $media-direct (call $set-media (i32.const 0) (i32.const 224) (i32.const 6) (i32.const 2048)))
            ;; Is a mode that there is not refused, and a target that there is not?
            (func $media-refused (result i32)
                (call $set-media (i32.const 0) (i32.const 224) (i32.const 3) (i32.const 2048))
                (i32.load8_u (i32.const 2048))
                (call $set-media (i32.const 7) (i32.const 224) (i32.const 6) (i32.const 2048))
                (i32.load8_u (i32.const 2048)) (i32.and))
            (func $target-refused (result i32) (call $target) (i32.load8_u (i32.const 2048)))
            (func $remember
                (call $set-transaction (i32.const 16) (i32.const {bytes}) (i32.const 1) (i32.const 96) (i32.const 3) (i32.const 2048))
                (call $set-call (i32.const 16) (i32.const {bytes}) (i32.const 1) (i32.const 96) (i32.const 3) (i32.const 2048)))
            (func $identify (call $set-identity (i32.const 16) (i32.const {bytes}) (i32.const 2048)))
            (func $judge (result i32)
                (call $digest (i32.const 128) (i32.const 11) (i32.const 1) (i32.const 2048))
                (call $outcome))
            (func $judge-token (result i32)
                (call $bearer (i32.const 128) (i32.const 11) (i32.const 176) (i32.const 27) (i32.const 2048))
                (call $outcome))
            ;; Answers 400 + 10 if it was refused + the case of the outcome or of the refusal.
            (func $outcome (result i32)
                (call $reply (i32.add (i32.const 400) (i32.add
                    (i32.mul (i32.const 10) (i32.load8_u (i32.const 2048)))
                    (i32.load8_u (i32.const 2056))))))
            (func $challenge (result i32)
                (call $digest-challenge (i32.const 128) (i32.const 11) (i32.const 1) (i32.const 1) (i32.const 2048))
                (call $challenged))
            ;; With an error, or with one that is none.
            (func $challenge-token (result i32) (call $challenge-for (i32.const 208) (i32.const 13)))
            (func $challenge-wrongly (result i32) (call $challenge-for (i32.const 64) (i32.const 7)))
            (func $challenge-for (param $error i32) (param $bytes i32) (result i32)
                (call $bearer-challenge (i32.const 128) (i32.const 11) (i32.const 1)
                    (i32.const 1) (local.get $error) (local.get $bytes) (i32.const 2048))
                (call $challenged))
            (func $challenged (result i32)
                (if (result i32) (i32.load8_u (i32.const 2048))
                    (then (call $reply (i32.add (i32.const 410) (i32.load8_u (i32.const 2052)))))
                    (else
                        (memory.copy (i32.const 1032) (i32.const 2052) (i32.const 44))
                        (call $decide (i32.const 2)))))
            (func $identify-until (call $set-until (i32.const 16) (i32.const {bytes}) (i64.const 1800000000) (i32.const 2048)))
            (func $bob-is-local (result i32) (call $is-local (i32.const 144) (i32.const 19)))
            (func $say (call $log (i32.const 2) (i32.const 16) (i32.const {bytes})))
            (func $spin (loop $again (br $again)))
            (func $eat (loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable)
            (func $count (result i32)
                (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                (global.get $calls))
            {globals}
            {configure}
            {hooks})"#
        )
    }
}

fn hook(interface: &str, body: &str) -> String {
    let (_, function, params) = HOOKS
        .into_iter()
        .find(|(name, ..)| *name == interface)
        .unwrap();
    format!(
        r#"(func (export "hookswitch:policy/{interface}@0.1.0#{function}") (param {params}) (result i32) {body})
        (func (export "cabi_post_hookswitch:policy/{interface}@0.1.0#{function}") (param i32)
            (global.set $heap (i32.const 65536)))"#
    )
}
