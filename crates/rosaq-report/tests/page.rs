//! The page and the figures: what is in them, and that every reader can parse them.

use rosaq_report::{
    ComparisonRow, LinearError, Magnitudes, Report, RoleBits, Spectrum, Stage, TaskAccuracy,
    magnitude_svg, render_html,
};
use roxmltree::{Document, Node, ParsingOptions};

mod sample;

type Clear = fn(&mut Report);

/// Every section and how to empty it.
const SECTIONS: [(&str, Clear); 10] = [
    ("model", |r| r.model = Default::default()),
    ("settings", |r| (r.settings, r.command) = Default::default()),
    ("errors", |r| r.errors.clear()),
    ("spectra", |r| r.spectra.clear()),
    ("magnitudes", |r| r.magnitudes.clear()),
    ("roles", |r| r.roles.clear()),
    ("comparison", |r| r.comparison.clear()),
    ("accuracy", |r| r.comparison.iter_mut().for_each(|row| row.tasks.clear())),
    ("stages", |r| r.stages.clear()),
    ("notes", |r| r.notes.clear()),
];

const HOSTILE: &str = "</title></style></svg><script>alert(1)</script>\"'><img src=x onerror=y>&amp;\u{0}\u{1b}\u{202e}]]>";

/// Parses a page or a figure and checks that its shapes are made of numbers.
#[track_caller]
fn parse(text: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).expect("well-formed");
    for node in document.descendants().filter(|n| n.tag_name().namespace() == Some(SVG)) {
        for name in ["x", "y", "cx", "cy", "width", "height", "d", "viewBox", "transform"] {
            let value = node.attribute(name).unwrap_or_default();
            assert!(!value.contains("NaN") && !value.contains("inf"), "{name}=\"{value}\"");
        }
        for name in ["x", "y", "cx", "cy", "r", "width", "height"] {
            let Some(value) = node.attribute(name) else { continue };
            let number: f64 = value.trim_end_matches('%').parse().expect(value);
            let may_be_negative = node.tag_name().name() == "text";
            assert!(number >= 0.0 || may_be_negative, "{name}=\"{value}\"");
        }
    }
    document
}

const SVG: &str = "http://www.w3.org/2000/svg";

fn section_ids(document: &Document<'_>) -> Vec<String> {
    let sections = document.descendants().filter(|n| n.has_tag_name_of("section"));
    sections.filter_map(|n| n.attribute("id").map(str::to_owned)).collect()
}

trait LocalName {
    fn has_tag_name_of(&self, name: &str) -> bool;
}

impl LocalName for Node<'_, '_> {
    fn has_tag_name_of(&self, name: &str) -> bool {
        self.is_element() && self.tag_name().name() == name
    }
}

fn count(document: &Document<'_>, name: &str) -> usize {
    document.descendants().filter(|n| n.has_tag_name_of(name)).count()
}

#[test]
fn sample_has_every_section_and_is_small() {
    let page = render_html(&sample::report());
    let document = parse(&page);
    assert_eq!(section_ids(&document), SECTIONS.map(|(id, _)| id));
    assert_eq!(count(&document, "figure"), 12 + 3, "one for each spectrum and pair of magnitudes");
    let n_cells = document.descendants().filter(|n| n.attribute("title").is_some()).count();
    assert!(n_cells >= 30 * 7, "{n_cells}");
    let n_points = count(&document, "circle");
    assert_eq!(n_points, 2 * 2 * 8, "every row but FP16 in two plots, for wide and narrow screens");
    assert!(page.len() < 400_000, "{}", page.len());
}

#[test]
fn page_is_self_contained_and_deterministic() {
    let page = render_html(&sample::report());
    assert_eq!(page, render_html(&sample::report()));
    let document = parse(&page);
    for tag in ["script", "link", "img", "iframe", "object", "foreignObject"] {
        assert_eq!(count(&document, tag), 0, "{tag}");
    }
    for node in document.descendants() {
        assert_eq!(node.attribute("src"), None);
        assert!(node.attribute("href").is_none_or(|href| href.starts_with('#')));
    }
    assert!(!page.contains("@import") && !page.contains("url("));
}

#[test]
fn each_section_is_there_exactly_if_its_data_is() {
    for (id, clear) in SECTIONS {
        let mut report = sample::report();
        clear(&mut report);
        let page = render_html(&report);
        let expected: Vec<&str> =
            SECTIONS.map(|(id, _)| id).into_iter().filter(|s| *s != id && !needs(s, id)).collect();
        assert_eq!(section_ids(&parse(&page)), expected, "without {id}");
        assert!(!page.contains(&format!("#{id}\"")), "the list of contents names {id}");
    }
}

/// Accuracies are those of the rows of the comparison.
fn needs(section: &str, other: &str) -> bool {
    section == "accuracy" && other == "comparison"
}

#[test]
fn accuracies_are_a_table_and_a_plot() {
    let page = render_html(&sample::report());
    let document = parse(&page);
    let section = document.descendants().find(|n| n.attribute("id") == Some("accuracy")).unwrap();
    let texts = |node: Node<'_, '_>| -> Vec<String> {
        let cells = node.children().filter(|n| n.has_tag_name_of("th") || n.has_tag_name_of("td"));
        cells
            .map(|cell| {
                cell.descendants()
                    .filter(Node::is_text)
                    .filter_map(|n| n.text())
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect()
    };
    let rows: Vec<Vec<String>> =
        section.descendants().filter(|n| n.has_tag_name_of("tr")).map(texts).collect();
    let head = ["#", "Method", "Bits per weight", "average", "piqa", "winogrande", "STEM", "mmlu"];
    assert!(rows[0].iter().zip(head).all(|(cell, name)| cell.starts_with(name)), "{:?}", rows[0]);
    assert!(rows[0][4].contains("acc_norm") && rows[0][4].contains("1,838 rows"), "{}", rows[0][4]);
    let fp16 = [
        "1",
        "fp16",
        "16.00",
        "60.00",
        "68.00 ± 1.09",
        "52.00 ± 1.40",
        "27.00 ± 0.79",
        "28.00 ± 0.38",
    ];
    assert_eq!(rows[1], fp16);
    assert_eq!(rows.len(), 1 + 9);
    let svgs: Vec<_> = section.descendants().filter(|n| n.has_tag_name_of("svg")).collect();
    assert_eq!(svgs.len(), 2, "for wide and narrow screens");
    for svg in svgs {
        let circles = svg.descendants().filter(|n| n.has_tag_name_of("circle"));
        let heights: Vec<f64> =
            circles.map(|n| n.attribute("cy").unwrap().parse().unwrap()).collect();
        assert_eq!(heights.len(), 8);
        // The row at 8 bits is the best and the highest, that of rtn at 3 bits the lowest.
        assert_eq!(heights.iter().copied().fold(f64::INFINITY, f64::min), heights[7]);
        assert_eq!(heights.iter().copied().fold(0.0, f64::max), heights[6]);
        assert!(svg.descendants().any(|n| n.text() == Some("FP16")));
    }
}

#[test]
fn a_task_that_a_row_lacks_is_a_dash() {
    let mut report = sample::report();
    report.comparison[2].tasks.remove(0);
    report.comparison[3].tasks.clear();
    for row in &mut report.comparison {
        row.tasks.retain(|task| task.metric.is_some());
    }
    let page = render_html(&report);
    let section = page.split("id=\"accuracy\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert_eq!(section.matches("<tr>").count(), 1 + 8, "rows without any accuracy are left out");
    assert_eq!(section.matches(">–<").count(), 1);
    assert!(!section.contains("<svg"), "no average, no plot");
}

#[test]
fn empty_report_renders() {
    let page = render_html(&Report::default());
    let document = parse(&page);
    assert_eq!(section_ids(&document), [""; 0]);
    assert_eq!(count(&document, "h1"), 1);
    assert_eq!(count(&document, "dl"), 0);
}

#[test]
fn hostile_text_stays_text() {
    let mut report = sample::report();
    let hostile = || HOSTILE.to_owned();
    report.title = hostile();
    report.generated_by = hostile();
    report.command = Some(hostile());
    report.model.name = hostile();
    report.model.family = Some(hostile());
    report.settings = vec![(hostile(), hostile())];
    report.summary.method = hostile();
    report.summary.text = Some(hostile());
    report.notes = vec![hostile()];
    report.stages.iter_mut().for_each(|s| s.name = hostile());
    report.roles.iter_mut().for_each(|r| r.role = hostile());
    report.errors.iter_mut().for_each(|e| e.role = hostile());
    report.spectra.iter_mut().for_each(|s| s.site = hostile());
    report.magnitudes.iter_mut().for_each(|m| m.site = hostile());
    report
        .comparison
        .iter_mut()
        .for_each(|r| (r.method, r.settings) = (hostile(), Some(hostile())));
    let tasks = report.comparison.iter_mut().flat_map(|r| &mut r.tasks);
    tasks.for_each(|t| (t.name, t.metric) = (hostile(), Some(hostile())));
    let page = render_html(&report);
    let document = parse(&page);
    assert_eq!(count(&document, "script") + count(&document, "img"), 0);
    assert!(document.descendants().all(|n| n.attribute("onerror").is_none()));
    assert!(!page.contains(['\0', '\u{1b}', '\u{202e}']));
    let figure = magnitude_svg(&report.magnitudes[0]);
    assert_eq!(count(&parse(&figure), "script"), 0);
}

#[test]
fn numbers_that_are_none_do_no_harm() {
    let odd = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -0.0,
        -1.0,
        f64::MAX,
        f64::MIN,
        5e-324,
        1.0,
    ];
    for first in odd {
        for second in odd {
            let report = odd_report(first, second);
            parse(&render_html(&report));
            parse(&magnitude_svg(&report.magnitudes[0]));
        }
    }
}

fn odd_report(a: f64, b: f64) -> Report {
    let mut report = sample::report();
    let s = &mut report.summary;
    for figure in [
        &mut s.bits_per_weight,
        &mut s.weight_bits,
        &mut s.perplexity_fp16,
        &mut s.kl,
        &mut s.wall_seconds,
    ] {
        *figure = Some(a);
    }
    (s.perplexity_quantized, s.kl_stderr, s.cpu_seconds) = (Some(b), Some(b), Some(b));
    (s.total_bytes, s.source_bytes) = (Some(0), Some(u64::MAX));
    let stage = |x, y| Stage { wall_seconds: x, cpu_seconds: y, ..Stage::default() };
    report.stages = vec![stage(a, b), stage(b, b)];
    let role =
        |bits_per_weight, weights| RoleBits { weights, bits_per_weight, ..RoleBits::default() };
    report.roles = vec![role(a, 0), role(b, u64::MAX)];
    let error = |layer, relative| LinearError { layer, relative, ..LinearError::default() };
    report.errors = vec![error(0, a), error(usize::MAX, b)];
    let spectrum = |eigenvalues, salient, tokens| Spectrum {
        eigenvalues,
        salient,
        tokens,
        ..Spectrum::default()
    };
    report.spectra = vec![
        spectrum(vec![a, b, a], 2, 0),
        spectrum(vec![b], usize::MAX, 1),
        spectrum(vec![a; 5000], 0, u64::MAX),
        spectrum(vec![], 1, 1),
    ];
    #[expect(clippy::cast_possible_truncation, reason = "any odd f32 will do")]
    let (f, g) = (a as f32, b as f32);
    let magnitudes =
        |before, after, salient| Magnitudes { before, after, salient, ..Magnitudes::default() };
    report.magnitudes = vec![
        magnitudes(vec![f, g], vec![g; 3000], usize::MAX),
        magnitudes(vec![], vec![f], 1),
        magnitudes(vec![g], vec![], 0),
    ];
    let row = |x, y| ComparisonRow {
        bits: Some(x),
        bits_per_weight: x,
        perplexity: Some(y),
        kl: Some(y),
        kl_stderr: Some(x),
        cpu_seconds: Some(y),
        tasks: [None, Some("acc".to_owned())]
            .map(|metric| TaskAccuracy {
                metric,
                share: x,
                stderr: Some(y),
                ..TaskAccuracy::default()
            })
            .to_vec(),
        ..ComparisonRow::default()
    };
    report.comparison = vec![row(a, b), row(b, a), row(1.0, a), row(a, 0.5)];
    report
}

#[test]
fn long_curves_are_thinned() {
    let mut report = Report::default();
    let long: Vec<f64> = (0..20_000).map(|i| 1.0 / (1.0 + f64::from(i))).collect();
    for layer in 0..128 {
        report.spectra.push(Spectrum {
            layer,
            eigenvalues: long.clone(),
            salient: 600,
            tokens: 9,
            ..Spectrum::default()
        });
        for role in ["query", "key", "value", "output", "gate", "up", "down"] {
            report.errors.push(LinearError { layer, role: role.to_owned(), relative: 0.1 });
        }
    }
    let page = render_html(&report);
    parse(&page);
    assert!(page.len() < 1_000_000, "{}", page.len());
}

#[test]
fn peaks_survive_thinning() {
    let mut before = vec![0.1_f32; 50_000];
    before[31_234] = 40.0;
    let figure =
        magnitude_svg(&Magnitudes { before, after: vec![40.0; 2], ..Magnitudes::default() });
    let document = parse(&figure);
    let highest = |d: &str| -> f64 {
        let points = d.split(['M', 'L']).filter_map(|p| p.split_once(','));
        points.map(|(_, y)| y.parse::<f64>().unwrap()).fold(f64::INFINITY, f64::min)
    };
    let curves: Vec<&str> = document
        .descendants()
        .filter(|n| n.attribute("class").is_some_and(|c| c.starts_with("curve")))
        .filter_map(|n| n.attribute("d"))
        .collect();
    // Both panels reach 40, at the same height below their own top edges.
    let difference = highest(curves[1]) - highest(curves[0]) - 230.0;
    assert!(difference.abs() < 0.15, "{difference}");
}

#[test]
fn fp16_is_first() {
    let mut report = sample::report();
    report.comparison.rotate_left(3);
    let page = render_html(&report);
    let table = page.split("class=\"comparison\"").nth(1).unwrap();
    let position = |name: &str| table.find(&format!("<th scope=\"row\">{name}</th>")).unwrap();
    assert!(position("fp16") < position("rosaq"));
}

#[test]
fn report_survives_json() {
    let report = sample::report();
    let json = serde_json::to_string(&report).unwrap();
    // JSON may change the last digit of a number, which no page shows.
    let read: Report = serde_json::from_str(&json).unwrap();
    assert!(render_html(&read) == render_html(&report));
    assert_eq!(serde_json::from_str::<Report>("{}").unwrap(), Report::default());
}
