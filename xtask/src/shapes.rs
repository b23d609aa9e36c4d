//! Pairs of sizes on the command line.

/// Rows and columns of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shapes(pub(crate) Vec<[usize; 2]>);

/// `4096x4096`, or the linears of a block of LLaMA.
pub(crate) fn parse_shapes(text: &str) -> Result<Shapes, String> {
    let of_block = |hidden, between| vec![[hidden, hidden], [between, hidden], [hidden, between]];
    match text {
        "llama-7b" => return Ok(Shapes(of_block(4096, 11008))),
        "llama-13b" => return Ok(Shapes(of_block(5120, 13824))),
        _ => {}
    }
    let (rows, columns) = parse_pair(text).ok_or("expected two numbers, such as 4096x4096")?;
    Ok(Shapes(vec![[rows, columns]]))
}

/// `64x256`: sequences and tokens.
pub(crate) fn parse_speed(text: &str) -> Result<(usize, usize), String> {
    parse_pair(text).ok_or_else(|| "expected two numbers, such as 64x256".to_owned())
}

fn parse_pair(text: &str) -> Option<(usize, usize)> {
    let (one, other) = text.split_once('x')?;
    let [one, other] = [one, other].map(|number| number.parse().ok().filter(|&n| n >= 1));
    one.zip(other)
}
