//! From the configuration to rules that run. Every error names its rule and the remedy.

use crate::config::{Config, HeaderTest, On, RuleConfig, When};
use crate::list::List;
use crate::rules::{Action, Condition, Edit, Rule, RuleSet, Slot, Test};
use crate::template::{Field, Template};

/// The rules of the four hooks.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    pub(crate) register: RuleSet,
    pub(crate) request: RuleSet,
    pub(crate) branch: RuleSet,
    pub(crate) response: RuleSet,
}

/// What the contract keeps for the proxy, long and compact (RFC 3261 §7.3.3).
const PROTECTED: &[&str] = &[
    "Via",
    "v",
    "Route",
    "Record-Route",
    "Max-Forwards",
    "CSeq",
    "Call-ID",
    "i",
    "Content-Length",
    "l",
    "From",
    "f",
    "To",
    "t",
    "Contact",
    "m",
];

/// Compiles all rules, or says what is wrong with the first that cannot be.
pub(crate) fn compile(config: &Config) -> Result<Compiled, String> {
    let mut compiled = Compiled::default();
    for (index, rule) in config.rules.iter().enumerate() {
        let in_rule = |error: String| match &rule.name {
            Some(name) => format!("rule {} ({name}): {error}", index + 1),
            None => format!("rule {}: {error}", index + 1),
        };
        check(rule).map_err(in_rule)?;
        for on in rule.on.iter() {
            let set = match on {
                On::Register => &mut compiled.register,
                On::Request => &mut compiled.request,
                On::Branch => &mut compiled.branch,
                On::Response => &mut compiled.response,
            };
            let compiled = compile_rule(rule, *on, &mut set.reads).map_err(in_rule)?;
            set.rules.push(compiled);
        }
    }
    for set in [
        &mut compiled.register,
        &mut compiled.request,
        &mut compiled.branch,
        &mut compiled.response,
    ] {
        link(set);
    }
    Ok(compiled)
}

fn check(rule: &RuleConfig) -> Result<(), String> {
    if rule.on.is_empty() {
        return Err(
            "`on` is empty: name at least one of register, request, branch, response".into(),
        );
    }
    let (removed, set, added) = (rule.remove.iter(), rule.set.keys(), rule.add.keys());
    let mut edited = removed.chain(set).chain(added).peekable();
    if edited.peek().is_none() {
        return Err("it does nothing: give it `set`, `add` or `remove`".into());
    }
    edited.try_for_each(|name| {
        check_name(name)?;
        match PROTECTED
            .iter()
            .find(|protected| protected.eq_ignore_ascii_case(name))
        {
            Some(_) => Err(format!(
                "`{name}` is the proxy's own header and cannot be changed: take it out of the rule"
            )),
            None => Ok(()),
        }
    })
}

/// RFC 3261 §25.1: a header name is a token.
fn check_name(name: &str) -> Result<(), String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte);
    if !name.is_empty() && name.bytes().all(token) {
        return Ok(());
    }
    Err(format!(
        "`{name}` is no header name: use letters, digits and hyphens, without the colon"
    ))
}

fn compile_rule(rule: &RuleConfig, on: On, reads: &mut Vec<String>) -> Result<Rule, String> {
    let conditions = conditions(&rule.when, on, reads)?;
    let mut actions: Vec<Action> = Vec::new();
    for header in rule.remove.iter() {
        actions.push(Action {
            edit: Edit::Remove,
            header: header.clone(),
            slot: None,
        });
    }
    for (header, value) in &rule.set {
        actions.push(Action {
            edit: Edit::Set(template(value, on, reads)?),
            header: header.clone(),
            slot: None,
        });
    }
    for (header, value) in &rule.add {
        actions.push(Action {
            edit: Edit::Add(template(value, on, reads)?),
            header: header.clone(),
            slot: None,
        });
    }
    Ok(Rule {
        conditions,
        actions,
    })
}

fn template(value: &str, on: On, reads: &mut Vec<String>) -> Result<Template, String> {
    let template = Template::parse(value, |header| slot(header, reads))?;
    if on != On::Response && template.uses(Field::Status) {
        return Err(
            "`{status}` stands in a rule that is not on response alone: requests have none".into(),
        );
    }
    Ok(template)
}

fn conditions(when: &When, on: On, reads: &mut Vec<String>) -> Result<Vec<Condition>, String> {
    let mut conditions = Vec::new();
    let mut list = |values: &List<String>, condition: fn(Vec<String>) -> Condition| {
        if !values.is_empty() {
            conditions.push(condition(values.to_vec()));
        }
    };
    list(&when.method, Condition::Method);
    list(&when.side, Condition::Side);
    list(&when.request_uri_prefix, Condition::RequestUriPrefix);
    list(&when.from_domain, Condition::FromDomain);
    list(&when.to_domain, Condition::ToDomain);
    conditions.extend(when.in_dialog.map(Condition::InDialog));
    if !when.status.is_empty() {
        if on != On::Response {
            return Err(
                "`when.status` stands in a rule that is not on response alone: requests have none"
                    .into(),
            );
        }
        conditions.push(Condition::Status(when.status.to_vec()));
    }
    for test in when.header.iter() {
        conditions.push(Condition::Header(
            slot(&test.name, reads)?,
            header_test(test)?,
        ));
    }
    Ok(conditions)
}

fn header_test(test: &HeaderTest) -> Result<Test, String> {
    let values = [
        test.equals.clone().map(Test::Equals),
        test.prefix.clone().map(Test::Prefix),
        test.suffix.clone().map(Test::Suffix),
        test.contains.clone().map(Test::Contains),
        test.exists
            .map(|exists| if exists { Test::Exists } else { Test::Absent }),
    ];
    let mut given = values.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(format!(
            "`when.header` on {} tests nothing: add exists, equals, prefix, suffix or contains",
            test.name
        )),
        (Some(_), Some(_)) => Err(format!(
            "`when.header` on {} has several tests: give each an element of its own in a list",
            test.name
        )),
    }
}

/// The place of a header that is read, a new one if it is not read yet.
fn slot(header: &str, reads: &mut Vec<String>) -> Result<Slot, String> {
    check_name(header)?;
    let known = reads
        .iter()
        .position(|read| read.eq_ignore_ascii_case(header));
    Ok(Slot(known.unwrap_or_else(|| {
        reads.push(header.to_owned());
        reads.len() - 1
    })))
}

/// Ties each edit to the place where its header is read, once all reads are known.
fn link(set: &mut RuleSet) {
    for action in set.rules.iter_mut().flat_map(|rule| &mut rule.actions) {
        action.slot = set
            .reads
            .iter()
            .position(|read| read.eq_ignore_ascii_case(&action.header))
            .map(Slot);
    }
}
