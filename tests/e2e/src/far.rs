//! The phone at the other end, whatever it is made of: what a scenario asks of it.

/// One account, one call at a time. Whatever does not come within [`crate::PATIENCE_MS`] fails the test.
pub trait Far {
    /// What a browser calls to reach it.
    fn address(&self) -> &str;

    /// Calls a URI.
    fn calls(&self, uri: &str);

    /// Waits for a call and leaves it ringing.
    fn rings(&self);

    /// Waits until the other side rings.
    fn hears_ringing(&self);

    /// Takes the call that rings.
    fn takes(&self);

    /// Waits until there is a call.
    fn talks(&self);

    /// Refuses with 486, cancels or hangs up, as the call's state asks for.
    fn hangs_up(&self);

    /// Waits until there is no call.
    fn ended(&self);

    /// Puts the call on hold, or takes it back.
    fn holds(&self, on: bool);

    /// Asks the other side to call this URI instead (RFC 3515).
    fn transfers(&self, uri: &str);

    /// Sends a MESSAGE to Alice.
    fn sends(&self, text: &str);

    /// Waits for a MESSAGE.
    fn receives(&self, text: &str);

    /// Waits for a call and takes it.
    fn answers(&self) {
        self.rings();
        self.takes();
        self.talks();
    }
}
