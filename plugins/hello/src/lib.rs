//! The smallest policy: says on every request where it came from.
use hookswitch_sdk::prelude::*;

#[derive(Default)]
struct Hello;

#[hookswitch_sdk::policy]
impl Policy for Hello {
    fn on_request(&mut self, request: Summary) -> Result<Decision, Fault> {
        message::set_header("X-Came-From", &request.side)?;
        Ok(Decision::Next)
    }
}
