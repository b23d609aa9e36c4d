//! What is wrong with a set of compiled kernels.

use std::fmt;

use crate::compile::Compiled;
use crate::{Budget, Budgets, Listing, Usage};

/// One thing that must be put right.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Finding {
    /// A committed file is not what the sources give.
    Stale {
        /// Its path in the workspace.
        path: String,
    },
    /// A committed file has no source any more.
    Orphan {
        /// Its path in the workspace.
        path: String,
    },
    /// A number is above its limit.
    Over {
        /// The entry.
        entry: String,
        /// The architecture's name.
        architecture: &'static str,
        /// What is counted.
        what: &'static str,
        /// How much there is.
        found: f64,
        /// How much there may be.
        limit: f64,
    },
    /// An entry has no budget.
    NoBudget {
        /// The entry.
        entry: String,
    },
    /// A budget has no entry.
    NoEntry {
        /// The name.
        entry: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale { path } => {
                write!(f, "{path} is not what the kernels give; run `cargo xtask kernels`")
            }
            Self::Orphan { path } => write!(f, "{path} has no source in kernels/; remove it"),
            Self::Over { entry, architecture, what, found, limit } => {
                write!(f, "{entry} on {architecture}: {what} {found:.4}, at most {limit}")
            }
            Self::NoBudget { entry } => write!(f, "{entry} has no budget in kernels/budgets.toml"),
            Self::NoEntry { entry } => {
                write!(f, "kernels/budgets.toml has a budget for {entry}, which no kernel defines")
            }
        }
    }
}

/// Everything in which `compiled` is beyond `budgets`.
pub(crate) fn over_budget(compiled: &[Compiled], budgets: &Budgets) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut without = Vec::new();
    for (part, usage, listing) in entries(compiled) {
        let Some(budget) = budgets.entry.get(&usage.entry) else {
            without.push(usage.entry.clone());
            continue;
        };
        let architecture = part.architecture.name();
        let measured = measures(usage, listing, budget);
        findings.extend(measured.into_iter().filter(|(_, found, limit)| found > limit).map(
            |(what, found, limit)| {
                let entry = usage.entry.clone();
                Finding::Over { entry, architecture, what, found, limit }
            },
        ));
    }
    without.dedup();
    without.sort();
    without.dedup();
    findings.extend(without.into_iter().map(|entry| Finding::NoBudget { entry }));
    let known = |name: &str| entries(compiled).any(|(_, usage, _)| usage.entry == name);
    let unknown = budgets.entry.keys().filter(|name| !known(name));
    findings.extend(unknown.map(|name| Finding::NoEntry { entry: name.clone() }));
    findings
}

/// Every entry of every architecture.
pub(crate) fn entries(
    compiled: &[Compiled],
) -> impl Iterator<Item = (&Compiled, &Usage, &Listing)> {
    compiled.iter().flat_map(|part| {
        part.usage.iter().zip(&part.listings).map(move |(usage, listing)| (part, usage, listing))
    })
}

/// What is counted, how much there is, how much there may be.
fn measures(usage: &Usage, listing: &Listing, budget: &Budget) -> Vec<(&'static str, f64, f64)> {
    let mut measures = vec![
        ("bytes of spills", f64::from(usage.spills), 0.0),
        ("bytes of stack", f64::from(usage.stack), 0.0),
        ("accesses to local memory", listing.n_local() as f64, 0.0),
        ("registers", f64::from(usage.registers), f64::from(budget.registers)),
        ("bytes of static shared memory", f64::from(usage.shared), f64::from(budget.shared)),
    ];
    if let Some((best, worst)) = per_weight(listing, budget) {
        let limits = [budget.best_loop, budget.worst_loop];
        let names = [
            "instructions a weight in the cheapest loop",
            "instructions a weight in the dearest loop",
        ];
        for ((what, found), limit) in names.into_iter().zip([best, worst]).zip(limits) {
            measures.extend(limit.map(|limit| (what, found, limit)));
        }
    }
    measures
}

/// Instructions a weight in the cheapest and in the dearest loop.
pub(crate) fn per_weight(listing: &Listing, budget: &Budget) -> Option<(f64, f64)> {
    let weights = budget.weights_per_hmma?;
    let loops = listing.tensor_loops();
    let ratios = loops.iter().map(|l| l.n_instructions as f64 / (l.n_hmma as f64 * weights));
    ratios.fold(None, |range: Option<(f64, f64)>, ratio| {
        Some(range.map_or((ratio, ratio), |(low, high)| (low.min(ratio), high.max(ratio))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Architecture, parse_sass, parse_usage};

    fn sample() -> Vec<Compiled> {
        let usage = parse_usage(include_str!("samples/ptxas.txt")).split_off(1);
        let listings = parse_sass(include_str!("samples/sass.txt"));
        let stem = "sample".to_owned();
        vec![Compiled { stem, architecture: Architecture::Sm86, usage, listings }]
    }

    #[test]
    fn every_overrun_is_one_message() {
        let budgets = toml::from_str(
            "[entry.rosaq_spilling]\nthreads = 64\nregisters = 32\nweights_per_hmma = 1\nbest_loop = 2\n",
        );
        let found = over_budget(&sample(), &budgets.expect("legal"));
        let messages: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "rosaq_spilling on sm_86: bytes of spills 52.0000, at most 0",
                "rosaq_spilling on sm_86: bytes of stack 24.0000, at most 0",
                "rosaq_spilling on sm_86: accesses to local memory 1.0000, at most 0",
                "rosaq_spilling on sm_86: registers 40.0000, at most 32",
                "rosaq_spilling on sm_86: instructions a weight in the cheapest loop 2.5000, at most 2",
            ]
        );
    }

    #[test]
    fn entries_and_budgets_belong_together() {
        let budgets = toml::from_str("[entry.other]\nthreads = 32\nregisters = 32\n");
        let found = over_budget(&sample(), &budgets.expect("legal"));
        let entry = |name: &str| name.to_owned();
        assert_eq!(
            found,
            [
                Finding::NoBudget { entry: entry("rosaq_spilling") },
                Finding::NoEntry { entry: entry("other") },
            ]
        );
    }
}
