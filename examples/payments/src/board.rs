//! What an instance knows of the processors, and whom it sends a payment to.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::model::Processor;

/// How long a report is believed.
pub const REPORT_TTL: Duration = Duration::from_secs(30);

/// How a processor was when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which one.
    pub processor: Processor,
    /// Whether it takes payments.
    pub healthy: bool,
    /// How long it takes at the least.
    pub min_response_ms: u64,
    /// When it was asked.
    pub timestamp: DateTime<Utc>,
}

/// What is known of both processors.
#[derive(Debug, Clone)]
pub struct Board {
    views: watch::Sender<[View; 2]>,
    slow: Duration,
}

/// What is known of a processor.
#[derive(Debug, Clone, Copy, Default)]
struct View {
    /// The newest report; `None` where there is none, which is as bad as a bad one.
    report: Option<Report>,
    /// When it last failed or dawdled with a payment of this instance's.
    suspected: Option<DateTime<Utc>>,
}

impl View {
    fn is_healthy(&self, now: DateTime<Utc>) -> bool {
        self.report.is_some_and(|report| {
            let age = (now - report.timestamp).to_std().unwrap_or_default();
            let is_suspected = self.suspected.is_some_and(|at| at >= report.timestamp);
            report.healthy && age <= REPORT_TTL && !is_suspected
        })
    }

    fn is_slow(&self, slow: Duration) -> bool {
        self.report.is_some_and(|report| Duration::from_millis(report.min_response_ms) > slow)
    }
}

impl Board {
    /// Nothing is known yet. What takes longer than `slow` is slow.
    pub fn new(slow: Duration) -> Self {
        Self { views: watch::Sender::new([View::default(); 2]), slow }
    }

    /// Takes a report in, unless a newer one is known.
    pub fn learn(&self, report: Report) {
        self.views.send_if_modified(|views| {
            let view = &mut views[report.processor as usize];
            let is_news = view.report.is_none_or(|known| known.timestamp < report.timestamp);
            if is_news {
                view.report = Some(report);
            }
            is_news
        });
    }

    /// Takes in that there is no report of a processor.
    pub fn forget(&self, processor: Processor) {
        self.views.send_if_modified(|views| views[processor as usize].report.take().is_some());
    }

    /// Takes in that a processor has failed or dawdled with a payment: until a report says
    /// otherwise it is not the first choice.
    pub fn suspect(&self, processor: Processor) {
        self.views.send_modify(|views| views[processor as usize].suspected = Some(Utc::now()));
    }

    /// Whether a processor takes payments, as far as is known.
    pub fn is_healthy(&self, processor: Processor) -> bool {
        self.views.borrow()[processor as usize].is_healthy(Utc::now())
    }

    /// The newest report of a processor.
    pub fn report(&self, processor: Processor) -> Option<Report> {
        self.views.borrow()[processor as usize].report
    }

    /// Whom to send a payment to: the default processor unless it is unhealthy or slow, else the
    /// fallback unless that is; a slow one if there is nobody else; nobody if both are unhealthy.
    pub fn choose(&self) -> Option<Processor> {
        let (views, now) = (*self.views.borrow(), Utc::now());
        let healthy = || Processor::ALL.into_iter().filter(|&p| views[p as usize].is_healthy(now));
        healthy().find(|&p| !views[p as usize].is_slow(self.slow)).or_else(|| healthy().next())
    }

    /// Waits until there is somebody to send a payment to.
    pub async fn wait_for_choice(&self) {
        let mut news = self.views.subscribe();
        // The board is there, so that this does not fail.
        let _ = news.wait_for(|_| self.choose().is_some()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_millis(500);

    fn report(processor: Processor, healthy: bool, min_response_ms: u64) -> Report {
        Report { processor, healthy, min_response_ms, timestamp: Utc::now() }
    }

    fn choice(default: (bool, u64), fallback: (bool, u64)) -> Option<Processor> {
        let board = Board::new(SLOW);
        board.learn(report(Processor::Default, default.0, default.1));
        board.learn(report(Processor::Fallback, fallback.0, fallback.1));
        board.choose()
    }

    #[test]
    fn the_default_is_left_where_it_is_unhealthy_or_slow() {
        let (default, fallback) = (Some(Processor::Default), Some(Processor::Fallback));
        for (first, second, chosen) in [
            ((true, 0), (true, 0), default),
            ((true, 500), (true, 0), default),
            ((true, 501), (true, 0), fallback),
            ((true, 501), (true, 501), default),
            ((true, 501), (false, 0), default),
            ((false, 0), (true, 0), fallback),
            ((false, 0), (true, 501), fallback),
            ((false, 0), (false, 0), None),
        ] {
            assert_eq!(choice(first, second), chosen, "{first:?}, {second:?}");
        }
    }

    #[test]
    fn without_a_report_that_is_young_enough_nobody_is_healthy() {
        let board = Board::new(SLOW);
        assert_eq!(board.choose(), None);
        let mut old = report(Processor::Default, true, 0);
        old.timestamp -= REPORT_TTL + Duration::from_secs(1);
        board.learn(old);
        assert_eq!(board.choose(), None);
        board.learn(report(Processor::Default, true, 0));
        assert_eq!(board.choose(), Some(Processor::Default));
        board.learn(Report { healthy: false, ..old });
        assert_eq!(board.choose(), Some(Processor::Default), "an older report is no news");
        board.forget(Processor::Default);
        assert_eq!(board.choose(), None);
    }

    #[test]
    fn one_that_failed_is_left_until_the_next_report() {
        let board = Board::new(SLOW);
        let mut first = report(Processor::Default, true, 0);
        board.learn(first);
        board.learn(report(Processor::Fallback, true, 0));
        board.suspect(Processor::Default);
        assert_eq!(board.choose(), Some(Processor::Fallback));
        first.timestamp = Utc::now() + Duration::from_millis(1);
        board.learn(first);
        assert_eq!(board.choose(), Some(Processor::Default));
    }
}
