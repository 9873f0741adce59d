//! One round of one cell of the table, and what the rounds add up to.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::try_join_all;

use crate::children::{Children, Target, cpu_time};
use crate::client::{Caller, Era};
use crate::now;

/// The callers of one cell.
pub(crate) struct Stage {
    target: Target,
    era: Era,
    callers: Vec<Caller>,
}

/// What one round showed.
pub(crate) struct Measured {
    times: Vec<Duration>,
    wall: Duration,
    own_cpu: Duration,
}

/// One cell: a target, an era, a number of callers, and all its rounds.
pub(crate) struct Cell {
    pub(crate) target: &'static str,
    pub(crate) era: Era,
    pub(crate) callers: usize,
    pub(crate) times: Vec<Duration>,
    pub(crate) wall: Duration,
    pub(crate) own_cpu: Duration,
}

impl Stage {
    pub(crate) async fn open(target: &Target, era: Era, callers: usize) -> Result<Self> {
        let callers = try_join_all((0..callers).map(|_| Caller::open(target, era))).await?;
        Ok(Self { target: target.clone(), era, callers })
    }

    pub(crate) const fn callers(&self) -> usize {
        self.callers.len()
    }

    /// All callers at once, each one call after the other.
    pub(crate) async fn round(&mut self, children: &Children, calls: usize) -> Result<Measured> {
        let each = calls / self.callers.len();
        let before = children.upstream_calls().await?;
        let cpu = cpu_time(self.target.pid)?;
        let begun = now();
        let work = self.callers.iter_mut().map(|caller| async move {
            let mut times = Vec::with_capacity(each);
            for _ in 0..each {
                times.push(caller.call().await?);
            }
            anyhow::Ok(times)
        });
        let times = try_join_all(work).await?.concat();
        let wall = begun.elapsed();
        let own_cpu = cpu_time(self.target.pid)?.saturating_sub(cpu);
        let ran = children.upstream_calls().await? - before;
        ensure!(ran == times.len() as u64, "{} calls sent, {ran} ran", times.len());
        Ok(Measured { times, wall, own_cpu })
    }
}

impl Cell {
    pub(crate) fn of(stage: &Stage) -> Self {
        let (times, wall, own_cpu) = (Vec::new(), Duration::ZERO, Duration::ZERO);
        let (target, era, callers) = (stage.target.name, stage.era, stage.callers());
        Self { target, era, callers, times, wall, own_cpu }
    }

    pub(crate) fn add(&mut self, measured: Measured) {
        self.times.extend(measured.times);
        self.times.sort_unstable();
        self.wall += measured.wall;
        self.own_cpu += measured.own_cpu;
    }
}
