//! The model card.

use rosaq_report::{ComparisonRow, Report, model_card};

mod sample;

fn front_matter(card: &str) -> &str {
    card.strip_prefix("---\n").and_then(|c| c.split_once("\n---\n")).expect("front matter").0
}

#[test]
fn card_has_front_matter_figures_and_commands() {
    let card = model_card(&sample::report());
    let front = front_matter(&card);
    assert!(front.contains("library_name: rosaq"));
    assert!(front.ends_with("tags:\n- rosaq\n- quantized\n- rosaq-absorbed\n- llama"), "{front}");
    assert!(front.contains("base_model: \"HuggingFaceTB/SmolLM2-135M\""));
    for expected in [
        "# SmolLM2-135M, ROSAQ at INT4\n",
        "| KL divergence from FP16, nats per token | 0.1803 ± 0.0021 |",
        "| perplexity of this model | 36.01 |",
        "| size ratio | 2.31 : 1 |",
        "```sh\ncargo xtask quantize --model models/SmolLM2-135M",
        "cargo xtask eval DIR --text FILE",
        "cargo xtask verify DIR",
        "| hidden\\_size | 576 |",
        "measured on wiki.test.raw, 32,704 tokens scored, windows of 512 tokens",
    ] {
        assert!(card.contains(expected), "{expected}\n{card}");
    }
}

#[test]
fn empty_card_says_what_is_missing() {
    let card = model_card(&Report::default());
    assert!(!front_matter(&card).contains("base_model"));
    assert_eq!(card.matches("| not measured |").count(), 12);
    assert!(card.contains("Quality was not measured."));
    for absent in ["## Compared", "## Made with", "## Source model"] {
        assert!(!card.contains(absent), "{absent}");
    }
}

#[test]
fn hostile_text_stays_text() {
    let hostile = || "a\"\n---\nevil: 1\r\n# H <b>|x|</b> [l](u) `c` ```\u{0}\u{202e}".to_owned();
    let mut report = Report { title: hostile(), generated_by: hostile(), ..Report::default() };
    report.command = Some(hostile());
    report.model.name = hostile();
    report.model.base_model = Some(hostile());
    report.model.family = Some(hostile());
    report.summary.method = hostile();
    report.summary.text = Some(hostile());
    report.summary.kl = Some(f64::NAN);
    report.settings = vec![(hostile(), hostile())];
    report.notes = vec![hostile()];
    report.comparison =
        vec![ComparisonRow { method: hostile(), settings: Some(hostile()), ..Default::default() }];
    let card = model_card(&report);
    let front = front_matter(&card);
    assert!(!front.lines().any(|line| line.starts_with("evil")), "{front}");
    assert_eq!(
        card.lines().filter(|line| *line == "---").count(),
        3,
        "front matter, and the command's own"
    );
    let (before, code) = card.split_once("````sh\n").unwrap();
    let (_, after) = code.split_once("\n````\n").unwrap();
    let body = before.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap().1;
    for text in [body, after] {
        assert!(
            !text.contains("<b>") && !text.contains(" [l]") && !text.contains(" `c`"),
            "{text}"
        );
        assert!(!text.lines().any(|line| line.starts_with("# H")));
        for line in text.lines().filter(|line| line.starts_with('|')) {
            assert!(!line.contains(" |x|"), "{line}");
        }
    }
    assert!(!card.contains(['\0', '\u{202e}', '\r']));
}
