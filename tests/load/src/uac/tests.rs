use super::*;
use crate::uas::{Answerer, Seen};

fn party() -> Party {
    Party {
        aor: "sip:a@h".into(),
        contact: "<sip:a@c.invalid;transport=ws>".into(),
        via: "SIP/2.0/WSS c.invalid".into(),
    }
}

fn answers(request: &str) -> Vec<String> {
    let mut sent = Vec::new();
    let answerer = Answerer {
        contact: "<sip:pbx@p>".into(),
        echo: Vec::new(),
    };
    answerer.answer(View::new(request), &mut Seen::default(), |text| {
        sent.push(text)
    });
    sent
}

#[test]
fn a_call_goes_from_invite_to_bye() {
    let (mut ledger, party, now) = (Ledger::new("r".into()), party(), Instant::now());
    let invite = ledger.begin(
        &Plan::new(Kind::Call, vec!["sip:b@h".into()]),
        3,
        &party,
        now,
    );
    let [ringing, ok] = answers(&invite).try_into().unwrap();
    assert!(!ledger.response(View::new(&ringing), 3, &party, now).ended);
    let routed = ok.replace(
        "Contact:",
        "Record-Route: <sip:first>\r\nRecord-Route: <sip:second>\r\nContact:",
    );
    let [ack, bye] = ledger
        .response(View::new(&routed), 3, &party, now)
        .send
        .try_into()
        .unwrap();
    assert!(ack.starts_with("ACK sip:pbx@p SIP/2.0\r\n"));
    assert_eq!(
        View::new(&bye).headers("Route").collect::<Vec<_>>(),
        ["<sip:second>", "<sip:first>"]
    );
    let [ok] = answers(&bye).try_into().unwrap();
    assert!(ledger.response(View::new(&ok), 3, &party, now).ended);
    assert!(
        ledger.score.is_clean() && ledger.waiting() == 0,
        "{:?}",
        ledger.score
    );
}

#[test]
fn an_answer_that_does_not_belong_is_wrong() {
    let spoil: [fn(&str) -> String; 5] = [
        |ok| ok.replace("CSeq: 1 OPTIONS", "CSeq: 2 OPTIONS"),
        |ok| ok.replace("tag=f0", "tag=f1"),
        |ok| ok.replace("Call-ID: 0@r", "Call-ID: 0@s"),
        |ok| ok.replace("-0-OPTIONS", "-1-OPTIONS"),
        |ok| {
            ok.replace(
                "From:",
                "Via: SIP/2.0/UDP left.over;branch=z9hG4bK\r\nFrom:",
            )
        },
    ];
    for spoil in spoil {
        let (mut ledger, party, now) = (Ledger::new("r".into()), party(), Instant::now());
        let options = ledger.begin(
            &Plan::new(Kind::Options, vec!["sip:b@h".into()]),
            0,
            &party,
            now,
        );
        let [ok] = answers(&options).try_into().unwrap();
        assert!(
            !ledger
                .response(View::new(&spoil(&ok)), 0, &party, now)
                .ended
        );
        assert_eq!((ledger.score.wrong, ledger.score.answered), (1, 0), "{ok}");
        assert!(
            !ledger.response(View::new(&ok), 1, &party, now).ended,
            "another sender"
        );
        assert!(ledger.response(View::new(&ok), 0, &party, now).ended);
    }
}

#[test]
fn a_failure_is_acknowledged_and_silence_is_lost() {
    let (mut ledger, party, now) = (Ledger::new("r".into()), party(), Instant::now());
    let plan = Plan::new(Kind::Call, vec!["sip:b@h".into()]);
    let invite = ledger.begin(&plan, 0, &party, now);
    let failed = answers(&invite).remove(1).replace("200 OK", "500 No");
    let reaction = ledger.response(View::new(&failed), 0, &party, now);
    assert!(reaction.ended);
    let via = View::new(&invite).header("Via");
    assert_eq!(
        View::new(&reaction.send[0]).header("Via"),
        via,
        "RFC 3261 §17.1.1.3"
    );
    ledger.begin(&plan, 0, &party, now);
    assert_eq!(ledger.expire(Duration::ZERO, now), 1);
    assert_eq!((ledger.score.refused[&500], ledger.score.lost), (1, 1));
}
