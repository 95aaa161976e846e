//! What is no policy is refused at load, with a text that says why.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Folder, Host, engine, guest::Guest};
use expect_test::{Expect, expect};
use hookswitch_policy::{Policies, PolicySpec, spec::ConfigSource};

fn check(component: &[u8], expected: Expect) {
    let Err(error) = Host::start(&[("a", component.to_vec())], |_| {}) else {
        panic!("it was loaded")
    };
    let folder = error.faults[0]
        .1
        .split_inclusive("a.wasm")
        .map(|part| match part.find("/") {
            Some(start) if part.ends_with("a.wasm") => format!("{}a.wasm", &part[..start]),
            Some(_) | None => part.to_owned(),
        });
    expected.assert_eq(&folder.collect::<String>());
}

fn component(wat: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {wat})")).unwrap()
}

/// An import of an empty instance and an export of a hook that is one.
fn importing(name: &str) -> Vec<u8> {
    component(&format!(
        r#"(import "{name}" (instance)) (instance $hook) (export "hookswitch:policy/request-hook@0.1.0" (instance $hook))"#
    ))
}

fn exporting(name: &str) -> Vec<u8> {
    component(&format!(
        r#"(instance $hook) (export "{name}" (instance $hook))"#
    ))
}

#[test]
fn no_component() {
    check(
        b"\0asm\x01\0\0\0",
        expect![[
            r#"a.wasm is a core module, not a component; wrap it with `wasm-tools component new`"#
        ]],
    );
    check(b"", expect![[r#"a.wasm is no WebAssembly"#]]);
    check(b"hello", expect![[r#"a.wasm is no WebAssembly"#]]);
    let whole = Guest::new("a").request("(call $next)").build();
    check(
        &whole[..100],
        expect![
            "a.wasm is no component, or half of one: failed to parse WebAssembly module: unexpected end-of-file (at offset 0xb)"
        ],
    );
}

#[test]
fn no_hook() {
    check(
        &component(""),
        expect![[
            r#"it exports no hook; export at least one of connect-hook, register-hook, request-hook, branch-hook, response-hook, failure-hook of hookswitch:policy@0.1.0"#
        ]],
    );
    check(
        &exporting("wasi:cli/run@0.2.0"),
        expect![[
            r#"it exports no hook; export at least one of connect-hook, register-hook, request-hook, branch-hook, response-hook, failure-hook of hookswitch:policy@0.1.0"#
        ]],
    );
    check(
        &exporting("hookswitch:policy/lifecycle@0.1.0"),
        expect![[
            r#"it exports no hook; export at least one of connect-hook, register-hook, request-hook, branch-hook, response-hook, failure-hook of hookswitch:policy@0.1.0"#
        ]],
    );
}

#[test]
fn another_hook() {
    check(
        &exporting("hookswitch:policy/requests-hook@0.1.0"),
        expect![[
            r#"it exports hookswitch:policy/requests-hook@0.1.0, which is no hook of hookswitch:policy@0.1.0; is the name misspelt?"#
        ]],
    );
    check(
        &exporting("hookswitch:policy/request-hook@0.2.0"),
        expect![[
            r#"it exports hookswitch:policy/request-hook@0.2.0, but this host speaks hookswitch:policy@0.1.0; build it against that version"#
        ]],
    );
    check(
        &exporting("hookswitch:policy/request-hook"),
        expect![[
            r#"it exports hookswitch:policy/request-hook, but this host speaks hookswitch:policy@0.1.0; build it against that version"#
        ]],
    );
}

#[test]
fn a_hook_without_its_function_or_of_another_type() {
    check(
        &exporting("hookswitch:policy/request-hook@0.1.0"),
        expect![[
            r#"it cannot be linked: instance export `hookswitch:policy/request-hook@0.1.0` does not have export `on-request`"#
        ]],
    );
    let wrong = r#"
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))
        (instance $hook (export "on-request" (func $f)))
        (export "hookswitch:policy/request-hook@0.1.0" (instance $hook))"#;
    check(
        &component(wrong),
        expect![[
            r#"request-hook has another type than in hookswitch:policy@0.1.0 (expected 1-tuple, found 0-tuple); build it against that version"#
        ]],
    );
}

#[test]
fn imports_that_no_policy_has() {
    check(
        &importing("wasi:http/outgoing-handler@0.2.0"),
        expect![[
            r#"it imports wasi:http/outgoing-handler@0.2.0: a policy has no network; ask the host through the functions of hookswitch:policy instead"#
        ]],
    );
    check(
        &importing("wasi:keyvalue/store@0.2.0"),
        expect![[
            r#"it imports wasi:keyvalue/store@0.2.0: a policy keeps no state of its own; use the attributes of source, transaction and call"#
        ]],
    );
    check(
        &importing("wasi:clocks/monotonic-clock@0.3.0"),
        expect![[
            r#"it imports wasi:clocks/monotonic-clock@0.3.0, but this host has WASI 0.2; build it for wasm32-wasip2 or with the adapter for preview 1"#
        ]],
    );
    check(
        &importing("acme:billing/api@1.0.0"),
        expect![[
            r#"it imports acme:billing/api@1.0.0; a policy may import hookswitch:policy@0.1.0 and WASI 0.2 only"#
        ]],
    );
    check(
        &importing("hookswitch:policy/messages@0.1.0"),
        expect![[
            r#"it imports hookswitch:policy/messages@0.1.0, which hookswitch:policy@0.1.0 does not have; is the name misspelt?"#
        ]],
    );
    check(
        &importing("hookswitch:policy/message@0.2.0"),
        expect![[
            r#"it imports hookswitch:policy/message@0.2.0, but this host speaks hookswitch:policy@0.1.0; build it against that version"#
        ]],
    );
    let function = r#"
        (import "hookswitch:policy/message@0.1.0" (instance (export "fax" (func))))
        (instance $hook) (export "hookswitch:policy/request-hook@0.1.0" (instance $hook))"#;
    check(
        &component(function),
        expect![[
            r#"it cannot be linked: component imports instance `hookswitch:policy/message@0.1.0`, but a matching implementation was not found in the linker: instance export `fax` has the wrong type: function implementation is missing"#
        ]],
    );
}

#[test]
fn configure_that_fails() {
    let refusing =
        "(i32.store (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1028) (i32.const 16))
        (i32.store (i32.const 1032) (i32.const 4)) (i32.const 1024)";
    check(
        &Guest::new("oops")
            .request("(call $next)")
            .configure(refusing)
            .build(),
        expect![[r#"configure refused: oops"#]],
    );
    check(
        &Guest::new("a")
            .request("(call $next)")
            .configure("unreachable")
            .build(),
        expect![[r#"configure trapped: wasm trap: wasm `unreachable` instruction executed"#]],
    );
}

#[test]
fn all_faults_are_told_at_once() {
    let folder = Folder::new();
    let good = folder.write(
        "good.wasm",
        &Guest::new("a").request("(call $next)").build(),
    );
    let mut no_json = PolicySpec::new("no-json", &good);
    no_json.config = ConfigSource::File(folder.write("config.json", b"{"));
    let specs = vec![
        PolicySpec::new("good", &good),
        no_json,
        PolicySpec::new("missing", folder.path("missing.wasm")),
    ];
    let Err(error) = Policies::start(&engine(), specs, Vec::new()) else {
        panic!("they were loaded")
    };
    let names: Vec<&str> = error.faults.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["no-json", "missing"]);
    let text = error.to_string();
    assert!(
        text.contains("config.json is no JSON: EOF") && text.contains("missing.wasm: No such file"),
        "{text}"
    );
    let twice = vec![
        PolicySpec::new("good", &good),
        PolicySpec::new("good", &good),
    ];
    let Err(error) = Policies::start(&engine(), twice, Vec::new()) else {
        panic!("they were loaded")
    };
    assert_eq!(
        error.to_string(),
        "policy good: there is another policy of this name"
    );
}
