//! Lines for the host's log, under the policy's name: `log::info!("{} routes", routes.len())`.

pub use crate::bindings::hookswitch::policy::log::{Level, write};
pub use crate::{
    __debug as debug, __error as error, __info as info, __trace as trace, __warn as warn,
};

/// A line for whoever follows one message step by step.
#[doc(hidden)]
#[macro_export]
macro_rules! __trace {
    ($($arg:tt)*) => { $crate::log::write($crate::log::Level::Trace, &::std::format!($($arg)*)) };
}

/// A line for whoever looks for a fault.
#[doc(hidden)]
#[macro_export]
macro_rules! __debug {
    ($($arg:tt)*) => { $crate::log::write($crate::log::Level::Debug, &::std::format!($($arg)*)) };
}

/// A line that an operator reads every day.
#[doc(hidden)]
#[macro_export]
macro_rules! __info {
    ($($arg:tt)*) => { $crate::log::write($crate::log::Level::Info, &::std::format!($($arg)*)) };
}

/// A line for what an operator should look at.
#[doc(hidden)]
#[macro_export]
macro_rules! __warn {
    ($($arg:tt)*) => { $crate::log::write($crate::log::Level::Warn, &::std::format!($($arg)*)) };
}

/// A line for what went wrong.
#[doc(hidden)]
#[macro_export]
macro_rules! __error {
    ($($arg:tt)*) => { $crate::log::write($crate::log::Level::Error, &::std::format!($($arg)*)) };
}
