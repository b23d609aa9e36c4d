//! What the tests share.
#![allow(dead_code, unreachable_pub, reason = "every test uses a part")]

pub mod patch;
