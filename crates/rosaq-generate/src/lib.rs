#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod chat;
mod error;
mod generate;
mod sampler;
mod speed;
mod stop;
mod stream;

pub use chat::{ChatTemplate, Message};
pub use error::GenerateError;
pub use generate::{EndReason, Generated, Request, generate};
pub use sampler::{Sampler, Sampling};
pub use speed::{Speed, SpeedRequest};
