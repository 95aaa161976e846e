//! CSeq where an upstream asked who we are: its request went anew with the next number (RFC 3261 §22.2), and what its dialog brings from
//! the same end is as far ahead of the client's own from then on. The client hears its own numbers. How far they are apart is remembered
//! with the call, and of the request that made the dialog in the flow token, for when that is forgotten.

use super::{
    Proxy,
    branch::Branch,
    calls::Call,
    dialog::{InDialog, makes_dialog},
    ids::CallKey,
    io::Direction,
    relay::reverse,
};
use crate::{
    header::TokenParams,
    message::{HeaderName, Message, MessageError, Method},
    token::Token,
};

/// Of one direction of a dialog.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    /// How far ahead of the client's own.
    ahead: u32,
    /// The same of the latest INVITE, which its ACK and PRACKs name.
    invite: u32,
    /// The highest that went out.
    highest: u32,
}

/// Which dialog of a call, and which way.
pub(super) type NumbersKey = (u8, Direction);

impl Numbers {
    fn of_token(token: &Token, direction: Direction) -> Self {
        let ahead = match direction {
            Direction::ToCallee => token.ahead.into(),
            Direction::ToCaller => 0,
        };
        Self {
            ahead,
            invite: ahead,
            highest: 0,
        }
    }

    /// A request went out with this number.
    fn note(&mut self, request: &Message, number: u32) {
        self.highest = self.highest.max(number);
        if request.method() == Some(Method::Invite) {
            self.invite = self.ahead;
        }
    }
}

impl Proxy {
    /// Numbers a request of a dialog as the end expects that it goes to. How far that is ahead.
    pub(super) fn number_in_dialog(
        &mut self,
        request: &mut Message,
        call: CallKey,
        dialog: InDialog,
    ) -> Result<u32, MessageError> {
        let numbers = self.numbers(call, dialog, dialog.direction);
        match request.method() {
            Some(Method::Prack) => shift_rack(request, numbers.invite)?,
            Some(Method::Notify) => {
                let asked = self.numbers(call, dialog, reverse(dialog.direction));
                shift_refer_id(request, asked.ahead)?;
            }
            Some(_) | None => {}
        }
        shift(request, numbers.ahead)?;
        let (now, number) = (self.now(), number_of(request));
        let key = (dialog.token.branch, dialog.direction);
        if let Some(Call { numbers, .. }) = self.calls.get(call, now)
            && let Some(numbers) = numbers.get_mut(&key)
        {
            numbers.note(request, number);
        }
        Ok(numbers.ahead)
    }

    /// An ACK has the number of its INVITE (RFC 3261 §13.2.2.4).
    pub(super) fn number_ack(
        &self,
        ack: &mut Message,
        call: CallKey,
        dialog: InDialog,
    ) -> Result<(), MessageError> {
        shift(ack, self.numbers(call, dialog, dialog.direction).invite)
    }

    /// Gives the request of a branch that goes anew the next number.
    pub(super) fn number_again(
        &mut self,
        branch: &mut Branch,
        request: &mut Message,
    ) -> Result<(), MessageError> {
        let dialog = self.servers.get(&branch.tx).and_then(|tx| tx.dialog);
        let key = dialog.map_or((branch.index, Direction::ToCallee), |dialog| {
            (dialog.token.branch, dialog.direction)
        });
        let before = number_of(request);
        let own = before.saturating_sub(branch.ahead);
        let mut next = before.saturating_add(1);
        if (dialog.is_some() || makes_dialog(request))
            && let Some(call) = self.call_record(branch.tx)
        {
            let from_token = dialog.map(|dialog| Numbers::of_token(&dialog.token, key.1));
            let numbers = call
                .numbers
                .entry(key)
                .or_insert(from_token.unwrap_or_default());
            next = next.max(numbers.highest.saturating_add(1));
            numbers.ahead = numbers.ahead.max(next.saturating_sub(own));
            numbers.note(request, next);
        }
        branch.ahead = next.saturating_sub(own);
        shift(request, next.saturating_sub(before))
    }

    fn numbers(&self, call: CallKey, dialog: InDialog, direction: Direction) -> Numbers {
        let known = self.calls.peek(call);
        let known = known.and_then(|call| call.numbers.get(&(dialog.token.branch, direction)));
        known.map_or_else(
            || Numbers::of_token(&dialog.token, direction),
            |known| *known,
        )
    }
}

fn number_of(request: &Message) -> u32 {
    request.cseq().map_or(0, |cseq| cseq.number)
}

fn shift(request: &mut Message, ahead: u32) -> Result<(), MessageError> {
    let Some(cseq) = request.cseq().filter(|_| ahead > 0) else {
        return Ok(());
    };
    let number = cseq.number.saturating_add(ahead);
    let value = format!("{number} {}", cseq.method);
    request.set(HeaderName::CSeq, value)
}

/// RFC 3262 §7.2: the number of a provisional response, and of the INVITE that it answers.
fn shift_rack(prack: &mut Message, ahead: u32) -> Result<(), MessageError> {
    let rack = prack.raw(HeaderName::RAck).filter(|_| ahead > 0);
    let rack = rack.and_then(|rack| std::str::from_utf8(rack).ok());
    let mut parts = rack.unwrap_or_default().split_ascii_whitespace();
    let (Some(response), Some(number), Some(method)) = (parts.next(), parts.next(), parts.next())
    else {
        return Ok(());
    };
    let Ok(number) = number.parse::<u32>() else {
        return Ok(());
    };
    let value = format!("{response} {} {method}", number.saturating_add(ahead));
    prack.set(HeaderName::RAck, value)
}

/// RFC 3515 §2.4.6: `id` is the number of the REFER, which went out ahead of what its sender knows it by.
fn shift_refer_id(notify: &mut Message, ahead: u32) -> Result<(), MessageError> {
    let event = notify.raw(HeaderName::Event).filter(|_| ahead > 0);
    let Some(event) = event.and_then(|event| TokenParams::parse(event).ok()) else {
        return Ok(());
    };
    if !event.token.eq_ignore_ascii_case("refer") {
        return Ok(());
    }
    let mut value = event.token.to_owned();
    for (name, param) in event.params.iter() {
        let number = param.and_then(|param| param.parse::<u32>().ok());
        let number = number.filter(|_| name.eq_ignore_ascii_case("id"));
        match (number, param) {
            (Some(number), _) => {
                value.push_str(&format!(";{name}={}", number.saturating_sub(ahead)));
            }
            (None, Some(param)) => value.push_str(&format!(";{name}={param}")),
            (None, None) => value.push_str(&format!(";{name}")),
        }
    }
    notify.set(HeaderName::Event, value)
}
