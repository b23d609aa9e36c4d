//! `kernels/resources.md`: what every entry needs, architecture by architecture.

use std::fmt::Write as _;

use crate::compile::Compiled;
use crate::findings::{entries, per_weight};
use crate::{Budgets, Loop, occupancy};

const HEAD: &str = "\
# What the kernels need

Written by `cargo xtask kernels` from what nvcc 13.5.37 says; `cargo xtask kernels --check` fails where it is out of date.
Counted, not timed: no device ran these kernels.

- Shared: bytes of static and of dynamic shared memory of a launch.
- CTAs, occupancy: what a multiprocessor holds at once by registers, threads and shared memory, and its share of the warps
  that could be there.
- Instr: all instructions. HMMA: tensor-core instructions among them.
- A weight: instructions of a lane for each of its weights, from branch to branch, in the cheapest and the dearest of the
  innermost loops with HMMA.

";

const COLUMNS: &str = "\
| Entry | Device | Registers | Spills | Stack | Shared | Barriers | CTAs | Occupancy | Instr | HMMA | A weight |
|---|---|---|---|---|---|---|---|---|---|---|---|
";

/// The whole file.
pub(crate) fn table(compiled: &[Compiled], budgets: &Budgets) -> String {
    let mut sorted = compiled.to_vec();
    sorted.sort_by(|a, b| (&a.stem, a.architecture).cmp(&(&b.stem, b.architecture)));
    let mut rows: Vec<_> = entries(&sorted).collect();
    rows.sort_by(|a, b| (&a.0.stem, &a.1.entry).cmp(&(&b.0.stem, &b.1.entry)));
    let mut text = HEAD.to_owned() + COLUMNS;
    for (part, usage, listing) in &rows {
        let budget = budgets.entry.get(&usage.entry);
        let (threads, dynamic) = budget.map_or((32, 0), |b| (b.threads, b.dynamic_shared));
        let resident = occupancy(part.architecture, usage, threads, dynamic);
        let weights = budget.and_then(|budget| per_weight(listing, budget));
        let weights =
            weights.map_or_else(String::new, |(low, high)| format!("{low:.2} to {high:.2}"));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} + {dynamic} | {} | {} | {} % | {} | {} | {weights} |",
            usage.entry,
            part.architecture.name(),
            usage.registers,
            usage.spills,
            usage.stack,
            usage.shared,
            usage.barriers,
            resident.ctas,
            resident.percent,
            listing.instructions.len(),
            listing.n_hmma(),
        );
    }
    text += "\n## Innermost loops with tensor-core instructions\n\nInstructions / HMMA, in order of their addresses.\n\n";
    for (part, usage, listing) in &rows {
        let loops: Vec<String> = listing.tensor_loops().iter().map(loop_text).collect();
        if !loops.is_empty() {
            let _ = writeln!(
                text,
                "- `{}` on {}: {}",
                usage.entry,
                part.architecture.name(),
                loops.join(", ")
            );
        }
    }
    text
}

fn loop_text(found: &Loop) -> String {
    format!("{}/{}", found.n_instructions, found.n_hmma)
}
