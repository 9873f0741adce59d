//! The gateway's own engine: policies loaded as a gateway loads them, and calls decided as a call is.

use std::collections::HashMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use countersign::authentication::Agents;
use countersign::catalog::{Catalog, CheckedArguments, Environment, Manifests};
use countersign::json::Object;
use countersign::policy::{Decision, Facts, Policy};
use countersign::principal::Principal;
use countersign::source::SourceFile;
use serde_json::json;

use crate::now;
use crate::rules::{self, Row};

/// A catalog with so many tools.
pub(crate) fn catalog(tools: usize) -> Result<Catalog> {
    let manifests = Manifests::read(files(rules::manifests(tools)))?;
    Ok(manifests.catalog(&Environment {
        find_program: &|name| Some(PathBuf::from(name)),
        missing_secret: &|_| None,
        unconfinable: &|_, _| None,
        learned: &HashMap::new(),
    })?)
}

fn files(texts: Vec<String>) -> Vec<SourceFile> {
    let file = |(number, text): (usize, String)| SourceFile {
        name: format!("{number}.yaml"),
        text: text.into(),
    };
    texts.into_iter().enumerate().map(file).collect()
}

/// One policy, and the calls that it decides.
pub(crate) struct Loaded {
    policy: Policy,
    calls: Vec<(Principal, CheckedArguments)>,
    /// How long it took to load.
    pub(crate) loaded_in: Duration,
}

impl Loaded {
    /// Loads so many rules; every call must be decided as the row says.
    pub(crate) fn load(row: Row, rules: usize, catalog: &Catalog, tools: usize) -> Result<Self> {
        let files = files(rules::policies(row, rules));
        let start = now();
        let policy = Policy::load(files, catalog)?;
        let loaded_in = now() - start;
        let agents = Agents::default();
        let call = |(agent, tool): (String, String)| -> Result<_> {
            let principal = agents.local(&agent.parse()?, "bench").context("no principal")?;
            let tool = catalog.tool(&tool).with_context(|| format!("no tool `{tool}`"))?;
            let arguments = json!({ "replicas": 40, "name": "a service of theirs" });
            let arguments: Object = serde_json::from_value(arguments)?;
            let checked = tool.check(arguments).map_err(|faults| anyhow!("{faults:?}"))?;
            Ok((principal, checked))
        };
        let calls = row.calls(rules, tools).into_iter().map(call).collect::<Result<Vec<_>>>()?;
        let loaded = Self { policy, calls, loaded_in };
        for (principal, checked) in &loaded.calls {
            let decision = loaded.decide(principal, checked.clone());
            let rules = match &decision {
                Decision::Permit(permit) => permit.rules().len(),
                Decision::Deny(denial) => denial.rules.len(),
                Decision::Hold(_) | Decision::NotCovered { .. } => usize::MAX,
            };
            let is_denied = matches!(decision, Decision::Deny(_));
            ensure!(
                rules == usize::from(row != Row::NoneHit) && is_denied == (row == Row::NoneHit),
                "`{}` decided {decision:?}",
                row.name()
            );
        }
        Ok(loaded)
    }

    fn decide(&self, principal: &Principal, checked: CheckedArguments) -> Decision {
        self.policy.decide(Facts {
            principal,
            workflow: None,
            client: None,
            checked,
            approval: None,
            standing: &[],
            spent: &[],
            holds: &[],
            now: jiff::Timestamp::UNIX_EPOCH,
        })
    }

    /// Decides `times` calls, and says how long one takes on average.
    pub(crate) fn measure(&self, times: usize) -> Duration {
        let calls: Vec<_> = self.calls.iter().cycle().take(times).cloned().collect();
        let start = now();
        for (principal, checked) in calls {
            black_box(self.decide(&principal, checked));
        }
        let took = now() - start;
        took / u32::try_from(times).unwrap_or(u32::MAX)
    }
}
