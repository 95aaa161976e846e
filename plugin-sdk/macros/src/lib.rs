//! The attribute `#[hookswitch_sdk::policy]`: reads which hooks an implementation of `Policy` overrides and makes the crate a
//! component that exports these and no other.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::{ImplItem, ItemImpl, parse_macro_input, parse_quote};

/// The contract's own text: a policy's world is added to it, so the interfaces keep their one name and version.
const CONTRACT: &str = include_str!("../../../wit/hookswitch.wit");

/// The imported interfaces, whose bindings stand in the SDK.
const IMPORTED: &[&str] = &[
    "types",
    "message",
    "target",
    "source",
    "transaction",
    "call",
    "auth",
    "log",
];

/// A hook: the method of `Policy` and the interface that it is exported by.
struct Hook {
    method: &'static str,
    interface: &'static str,
    /// Names of the arguments and their types in the SDK.
    arguments: &'static [(&'static str, &'static str)],
    returns: &'static str,
}

const HOOKS: &[Hook] = &[
    Hook {
        method: "on_connect",
        interface: "connect-hook",
        arguments: &[("upgrade", "Upgrade")],
        returns: "Admission",
    },
    Hook {
        method: "on_register",
        interface: "register-hook",
        arguments: &[SUMMARY],
        returns: "Decision",
    },
    Hook {
        method: "on_request",
        interface: "request-hook",
        arguments: &[SUMMARY],
        returns: "Decision",
    },
    Hook {
        method: "on_branch",
        interface: "branch-hook",
        arguments: &[SUMMARY, ("branch", "Branch")],
        returns: "BranchDecision",
    },
    Hook {
        method: "on_response",
        interface: "response-hook",
        arguments: &[SUMMARY, STATUS],
        returns: "ResponseDecision",
    },
    Hook {
        method: "on_failure",
        interface: "failure-hook",
        arguments: &[SUMMARY, STATUS],
        returns: "Decision",
    },
];
const SUMMARY: (&str, &str) = ("message", "Summary");
const STATUS: (&str, &str) = ("status", "u16");

/// Makes the crate a policy component. Stands once in a crate, on `impl Policy for …`; the crate is a `cdylib`.
///
/// `type Config` may be left out (the policy takes no configuration), and with it `fn new` (it starts as its `Default`).
#[proc_macro_attribute]
pub fn policy(
    arguments: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    let implementation = parse_macro_input!(item as ItemImpl);
    expand(arguments.into(), implementation)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

fn expand(arguments: TokenStream, mut implementation: ItemImpl) -> syn::Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(syn::Error::new_spanned(
            arguments,
            "`policy` takes no arguments",
        ));
    }
    if !is_policy(&implementation) {
        return Err(syn::Error::new_spanned(
            &implementation.self_ty,
            "`policy` stands on `impl Policy for …`",
        ));
    }
    let hooks: Vec<&Hook> = HOOKS
        .iter()
        .filter(|hook| overrides(&implementation, hook.method))
        .collect();
    if hooks.is_empty() {
        return Err(syn::Error::new_spanned(
            &implementation.self_ty,
            "a policy implements at least one hook, such as `on_request`",
        ));
    }
    fill_in(&mut implementation);
    let component = component(&implementation.self_ty, &hooks);
    Ok(quote! { #implementation #component })
}

fn is_policy(implementation: &ItemImpl) -> bool {
    let path = implementation.trait_.as_ref().map(|(_, path, _)| path);
    path.and_then(|path| path.segments.last())
        .is_some_and(|last| last.ident == "Policy")
}

fn overrides(implementation: &ItemImpl, method: &str) -> bool {
    implementation
        .items
        .iter()
        .any(|item| matches!(item, ImplItem::Fn(function) if function.sig.ident == method))
}

fn fill_in(implementation: &mut ItemImpl) {
    if !implementation
        .items
        .iter()
        .any(|item| matches!(item, ImplItem::Type(assigned) if assigned.ident == "Config"))
    {
        implementation
            .items
            .push(parse_quote! { type Config = ::hookswitch_sdk::NoConfig; });
    }
    if !overrides(implementation, "new") {
        implementation.items.push(parse_quote! {
            fn new(_: Self::Config) -> ::core::result::Result<Self, ::std::string::String> {
                ::core::result::Result::Ok(<Self as ::core::default::Default>::default())
            }
        });
    }
}

/// Bindings for a world with exactly these hooks, and the functions that lead from them to the trait.
fn component(policy: &syn::Type, hooks: &[&Hook]) -> TokenStream {
    let wit = wit(hooks);
    let with = IMPORTED.iter().map(|interface| {
        let (name, module) = (
            format!("hookswitch:policy/{interface}@0.1.0"),
            ident(interface),
        );
        quote! { #name: ::hookswitch_sdk::glue::contract::#module }
    });
    let guests = hooks.iter().map(|hook| guest(policy, hook));
    quote! {
        #[cfg(target_family = "wasm")]
        #[doc(hidden)]
        #[allow(missing_docs, unreachable_pub, clippy::all)]
        mod __hookswitch {
            ::hookswitch_sdk::glue::wit_bindgen::generate!({
                inline: #wit,
                world: "policy",
                runtime_path: "::hookswitch_sdk::glue::wit_bindgen::rt",
                with: { #(#with),* },
            });
        }

        // Natively the crate is a library for tests, and nobody calls it.
        #[cfg(not(target_family = "wasm"))]
        const _: fn(<#policy as ::hookswitch_sdk::Policy>::Config) -> ::core::result::Result<#policy, ::std::string::String> =
            <#policy as ::hookswitch_sdk::Policy>::new;

        #[cfg(target_family = "wasm")]
        const _: () = {
            ::std::thread_local! {
                static POLICY: ::hookswitch_sdk::glue::Slot<#policy> = const { ::hookswitch_sdk::glue::Slot::new(None) };
            }

            struct Component;

            impl __hookswitch::exports::hookswitch::policy::lifecycle::Guest for Component {
                fn configure(json: ::std::string::String) -> ::core::result::Result<(), ::std::string::String> {
                    POLICY.with(|policy| ::hookswitch_sdk::glue::configure(policy, &json))
                }
            }

            #(#guests)*

            __hookswitch::export!(Component with_types_in __hookswitch);
        };
    }
}

fn guest(policy: &syn::Type, hook: &Hook) -> TokenStream {
    let interface = ident(hook.interface);
    let method = ident(hook.method);
    let names: Vec<Ident> = hook.arguments.iter().map(|(name, _)| ident(name)).collect();
    let types = hook.arguments.iter().map(|(_, sort)| sdk_type(sort));
    let returns = sdk_type(hook.returns);
    quote! {
        impl __hookswitch::exports::hookswitch::policy::#interface::Guest for Component {
            fn #method(#(#names: #types),*) -> ::core::result::Result<#returns, ::hookswitch_sdk::Fault> {
                POLICY.with(|policy| {
                    ::hookswitch_sdk::glue::run(policy, |policy| <#policy as ::hookswitch_sdk::Policy>::#method(policy, #(#names),*))
                })
            }
        }
    }
}

fn wit(hooks: &[&Hook]) -> String {
    let exports: String = hooks
        .iter()
        .map(|hook| format!(" export {};", hook.interface))
        .collect();
    format!("{CONTRACT}\nworld policy {{ include imports; export lifecycle;{exports} }}\n")
}

fn ident(name: &str) -> Ident {
    format_ident!("{}", name.replace('-', "_"), span = Span::call_site())
}

fn sdk_type(name: &str) -> TokenStream {
    match name {
        "u16" => quote! { u16 },
        other => {
            let name = ident(other);
            quote! { ::hookswitch_sdk::#name }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn expanded(implementation: ItemImpl) -> String {
        expand(TokenStream::new(), implementation)
            .unwrap()
            .to_string()
    }

    #[test]
    fn the_world_has_the_hooks_that_are_overridden() {
        let expansion = expanded(parse_quote! {
            impl hookswitch_sdk::Policy for Mine {
                fn on_failure(&mut self, request: Summary, status: u16) -> Result<Decision, Fault> {}
                fn on_connect(&mut self, upgrade: Upgrade) -> Result<Admission, Fault> {}
            }
        });
        assert!(
            expansion.contains("export lifecycle; export connect-hook; export failure-hook; }")
        );
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let hook: ImplItem = parse_quote! { fn on_request(&mut self, request: Summary) -> Result<Decision, Fault> {} };
        let filled = expanded(parse_quote! { impl Policy for Mine { #hook } });
        assert!(filled.contains("type Config = :: hookswitch_sdk :: NoConfig"));
        assert!(filled.contains("default :: Default > :: default ()"));
        let own = expanded(parse_quote! {
            impl Policy for Mine { type Config = Mine; fn new(config: Mine) -> Result<Self, String> {} #hook }
        });
        assert!(!own.contains("NoConfig") && !own.contains("default :: Default"));
    }

    #[test]
    fn what_is_no_policy_is_refused_with_the_remedy() {
        let refused =
            |arguments, implementation| expand(arguments, implementation).unwrap_err().to_string();
        let hook: ImplItem = parse_quote! { fn on_request(&mut self, request: Summary) -> Result<Decision, Fault> {} };
        assert_eq!(
            refused(TokenStream::new(), parse_quote! { impl Mine { #hook } }),
            "`policy` stands on `impl Policy for …`"
        );
        assert_eq!(
            refused(TokenStream::new(), parse_quote! { impl Policy for Mine {} }),
            "a policy implements at least one hook, such as `on_request`"
        );
        assert_eq!(
            refused(
                quote! { name = "x" },
                parse_quote! { impl Policy for Mine { #hook } }
            ),
            "`policy` takes no arguments"
        );
    }
}
