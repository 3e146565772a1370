//! A payments service that puts payments through to the cheaper of two unreliable processors, with
//! what is needed to try it: a stub of a processor, and a load generator.

mod amount;
mod api;
mod balancer;
mod board;
mod client;
mod config;
mod delivery;
mod gateway;
mod health;
mod load;
mod metrics;
mod model;
mod processor;
mod service;
mod session;
mod stage;
mod store;
mod summary;

pub use amount::Amount;
pub use balancer::Balancer;
pub use board::{Board, REPORT_TTL, Report};
pub use client::{Answer, Client, NoAnswer};
pub use config::{Config, ConfigError, DeliverySettings, Processors};
pub use gateway::in_milliseconds;
pub use health::{POLL_INTERVAL, SharedHealth, UPDATES};
pub use load::{
    Answered, Audits, Behaviour, Report as LoadReport, Schedule, Score, Step, Target, run,
    start_floor,
};
pub use model::{Payment, PaymentField, PaymentRepository, Processor, State};
pub use processor::{LedgerSummary, Order, ProcessorStub, Recorded};
pub use service::Instance;
pub use session::{Lookup, PaymentView};
pub use stage::Stage;
pub use summary::{Span, Summary, TimeColumn, Total};
