//! Sends calls to upstreams by the longest prefix of the called number, as another number if wanted. Leaves requests in a dialog and
//! those that call no number to others.
//!
//! ```json
//! { "routes": [
//!     { "prefix": "+49", "upstreams": ["pbx-a", "pbx-b"], "strip": 3, "add": "0049" },
//!     { "prefix": "+4930", "upstreams": ["berlin"], "first-response-ms": 2000 } ],
//!   "sides": ["web"], "default": ["pbx-a"], "no-answer-ms": 30000 }
//! ```
//!
//! Upstreams of one route are tried one after the other: the next when one failed or did not answer in time. Strangers (who are neither
//! browsers nor of an upstream) are routed only if `sides` names `"stranger"`.

mod number;
mod routes;
mod table;

use hookswitch_sdk::prelude::*;

use routes::{Config, Routes, Way};

struct PrefixRouter(Routes);

#[hookswitch_sdk::policy]
impl Policy for PrefixRouter {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        Routes::new(config, &target::upstreams()).map(Self)
    }

    fn on_request(&mut self, request: Summary) -> Result<Decision, Fault> {
        if request.in_dialog {
            return Ok(Decision::Next);
        }
        match self.0.way(&request.side, &request.request_uri) {
            Some(way) => take(&way),
            None => Ok(Decision::Next),
        }
    }
}

fn take(way: &Way<'_>) -> Result<Decision, Fault> {
    for (stage, upstream) in (0..).zip(way.upstreams) {
        let target = target::add_upstream(upstream, stage)?;
        if let Some(uri) = &way.request_uri {
            target::set_uri(target, uri)?;
        }
        if way.first_response_ms > 0 || way.no_answer_ms > 0 {
            target::set_timeouts_ms(stage, way.first_response_ms, way.no_answer_ms)?;
        }
    }
    Ok(Decision::Forward)
}
