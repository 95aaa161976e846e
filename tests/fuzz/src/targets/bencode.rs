//! Replies of an rtpengine, and what pretends to be one.

use hookswitch_media::ng::{bencode::Value, message};

/// What is read can be written, and is read as the same again.
pub(crate) fn run(data: &[u8]) {
    // Whatever it says, it says it without a panic.
    let _ = message::read(data);
    let Ok(value) = Value::decode(data) else {
        return;
    };
    let mut written = Vec::new();
    value.encode(&mut written);
    assert_eq!(Value::decode(&written), Ok(value));
}
