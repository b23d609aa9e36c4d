//! Where the bits go.

use maud::html;

use super::Section;
use crate::number::{count, percent, significant};
use crate::plot::bar;
use crate::{Report, RoleBits};

/// Bits of an f16 weight, the full length of a bar.
const FULL: f64 = 16.0;

pub(super) fn section(report: &Report) -> Option<Section> {
    let roles = &report.roles;
    let stored = |r: &RoleBits| r.weights as f64 * r.bits_per_weight;
    let whole: f64 = roles.iter().map(stored).sum();
    (!roles.is_empty()).then(|| Section {
        id: "roles",
        title: "Bits by role",
        reading: Some(
            "The blue bar compares stored bits per weight with the 16 bits of f16; the orange bar is the role's share of all \
             bits stored for linears."
                .to_owned(),
        ),
        body: html! {
            div.scroll {
                table.bars {
                    thead { tr {
                        th scope="col" { "Role" }
                        th.number scope="col" { "Weights" }
                        th.number scope="col" { "Bits per weight" }
                        th.number scope="col" { "Share of bits" }
                    } }
                    tbody {
                        @for role in roles {
                            tr {
                                th scope="row" { (role.role) }
                                td.number { (count(role.weights)) }
                                td.number { (significant(role.bits_per_weight, 4)) (bar(role.bits_per_weight / FULL, "s0")) }
                                td.number { (percent(stored(role) / whole)) (bar(stored(role) / whole, "s1")) }
                            }
                        }
                    }
                }
            }
        },
    })
}
