//! `target`: where a request goes.

use super::{State, check_field, granted};
use crate::{
    bindings::{
        imported::target::{Entry, Host},
        types,
    },
    context::{EditError, StageTimeouts, Target, TargetKind},
};

impl State {
    fn check_uri(&mut self, uri: &str) -> Result<(), EditError> {
        check_field(self.limits(), "", uri)?;
        self.journal_mut()?
            .names
            .check_uri(uri)
            .map_err(EditError::Invalid)
    }

    fn add(&mut self, kind: TargetKind, stage: u32) -> Result<u32, types::EditError> {
        granted(self.policy.grants().route)?;
        let targets_max = self.limits().targets_max;
        let (targets, _) = self.journal_mut()?.targets_mut()?;
        if targets.len() >= targets_max {
            return Err(types::EditError::TooLarge);
        }
        let index = u32::try_from(targets.len()).map_err(|_| types::EditError::TooLarge)?;
        targets.push(Target {
            stage,
            kind,
            uri: None,
            next_hop: None,
            headers: Vec::new(),
            media: None,
        });
        Ok(index)
    }

    fn change(
        &mut self,
        index: u32,
        change: impl FnOnce(&mut Target) -> Result<(), EditError>,
    ) -> Result<(), types::EditError> {
        granted(self.policy.grants().route)?;
        let (targets, _) = self.journal_mut()?.targets_mut()?;
        let target = usize::try_from(index)
            .ok()
            .and_then(|index| targets.get_mut(index));
        Ok(change(target.ok_or_else(|| {
            EditError::Invalid(format!("there is no target {index}"))
        })?)?)
    }
}

impl Host for State {
    fn entries(&mut self) -> Vec<Entry> {
        let targets = self
            .journal
            .as_deref()
            .map(|journal| journal.targets())
            .unwrap_or_default();
        (0..)
            .zip(targets)
            .map(|(index, target)| entry(index, target))
            .collect()
    }

    fn upstreams(&mut self) -> Vec<String> {
        self.policy.upstreams().to_vec()
    }

    fn clear(&mut self) -> Result<(), types::EditError> {
        granted(self.policy.grants().route)?;
        let (targets, timeouts) = self.journal_mut()?.targets_mut()?;
        targets.clear();
        timeouts.clear();
        Ok(())
    }

    fn add_uri(&mut self, uri: String, stage: u32) -> Result<u32, types::EditError> {
        self.check_uri(&uri)?;
        self.add(TargetKind::Uri(uri), stage)
    }

    fn add_upstream(&mut self, name: String, stage: u32) -> Result<u32, types::EditError> {
        if !self.journal_mut()?.names.has_upstream(&name) {
            return Err(types::EditError::Invalid(format!(
                "there is no upstream {name:?}"
            )));
        }
        self.add(TargetKind::Upstream(name), stage)
    }

    fn is_local(&mut self, uri: String) -> bool {
        self.journal
            .as_deref()
            .is_some_and(|journal| journal.names.is_local(&uri))
    }

    fn add_registered(
        &mut self,
        address_of_record: String,
        stage: u32,
    ) -> Result<u32, types::EditError> {
        self.check_uri(&address_of_record)?;
        self.add(TargetKind::Registered(address_of_record), stage)
    }

    fn set_uri(&mut self, index: u32, uri: String) -> Result<(), types::EditError> {
        self.check_uri(&uri)?;
        self.change(index, |target| {
            target.uri = Some(uri);
            Ok(())
        })
    }

    fn set_next_hop(&mut self, index: u32, uri: String) -> Result<(), types::EditError> {
        self.check_uri(&uri)?;
        self.change(index, |target| {
            target.next_hop = Some(uri);
            Ok(())
        })
    }

    fn set_media(&mut self, index: u32, mode: String) -> Result<(), types::EditError> {
        let checked = self.journal_mut()?.names.check_media(&mode);
        checked.map_err(types::EditError::Invalid)?;
        self.change(index, |target| {
            target.media = Some(mode);
            Ok(())
        })
    }

    fn set_header(
        &mut self,
        index: u32,
        name: String,
        value: String,
    ) -> Result<(), types::EditError> {
        check_field(self.limits(), &name, &value)?;
        self.journal_mut()?.names.check_header(&name, &value)?;
        let bytes_max = self.limits().header_bytes_max;
        self.change(index, |target| {
            target
                .headers
                .retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
            let bytes: usize = target
                .headers
                .iter()
                .map(|(name, value)| name.len() + value.len())
                .sum();
            if bytes + name.len() + value.len() > bytes_max {
                return Err(EditError::TooLarge);
            }
            target.headers.push((name, value));
            Ok(())
        })
    }

    fn set_timeouts_ms(
        &mut self,
        stage: u32,
        first_response: u32,
        no_answer: u32,
    ) -> Result<(), types::EditError> {
        granted(self.policy.grants().route)?;
        let stages_max = self.limits().targets_max;
        let (_, timeouts) = self.journal_mut()?.targets_mut()?;
        timeouts.retain(|timeout| timeout.stage != stage);
        if timeouts.len() >= stages_max {
            return Err(types::EditError::TooLarge);
        }
        timeouts.push(StageTimeouts {
            stage,
            first_response_ms: first_response,
            no_answer_ms: no_answer,
        });
        Ok(())
    }
}

fn entry(index: u32, target: &Target) -> Entry {
    let (uri, upstream) = match &target.kind {
        TargetKind::Uri(uri) | TargetKind::Registered(uri) => (uri.as_str(), None),
        TargetKind::Upstream(name) => ("", Some(name.clone())),
    };
    let uri = target.uri.clone().unwrap_or_else(|| uri.to_owned());
    Entry {
        index,
        stage: target.stage,
        uri,
        upstream,
    }
}
