//! Messages to the text that a model expects.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;

use crate::GenerateError;

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// A Jinja template as models bring it along.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
}

impl ChatTemplate {
    /// Takes the text of a template.
    #[must_use]
    pub fn new(source: String) -> Self {
        Self { source }
    }

    /// The text of `messages`, ready for the assistant's answer. `bos` and `eos` are the texts of the tokens that begin and end a
    /// text, empty where there are none.
    ///
    /// # Errors
    /// [`GenerateError::Template`] for templates that are malformed, ask for what is not there, or refuse the messages.
    pub fn render(
        &self,
        messages: &[Message],
        bos: &str,
        eos: &str,
    ) -> Result<String, GenerateError> {
        let mut environment = Environment::new();
        // As huggingface/transformers sets them.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
        environment.set_syntax(syntax);
        let refuse = |reason: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, reason))
        };
        environment.add_function("raise_exception", refuse);
        let values = context! {
            messages => Value::from(Serde(messages)), bos_token => bos, eos_token => eos, add_generation_prompt => true,
        };
        Ok(environment.render_str(&self.source, values)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(role: &str, content: &str) -> Message {
        Message { role: role.to_owned(), content: content.to_owned() }
    }

    #[test]
    fn a_template_is_rendered_with_its_blocks_trimmed() {
        let source = "{% for message in messages %}\n<{{ message['role'] }}>{{ message.content }}{{ eos_token }}\n\
            {% endfor %}\n{% if add_generation_prompt %}<assistant>{% endif %}";
        let template = ChatTemplate::new(source.to_owned());
        let messages = [says("system", "Be brief."), says("user", "Hi")];
        let text = template.render(&messages, "", "</s>").unwrap();
        assert_eq!(text, "<system>Be brief.</s>\n<user>Hi</s>\n<assistant>");
    }

    #[test]
    fn templates_that_refuse_or_are_malformed_say_so() {
        let refuses = ChatTemplate::new("{{ raise_exception('roles must alternate') }}".to_owned());
        let error = refuses.render(&[], "", "").unwrap_err().to_string();
        assert!(error.contains("roles must alternate"), "{error}");
        let malformed = ChatTemplate::new("{% for %}".to_owned());
        assert!(matches!(malformed.render(&[], "", ""), Err(GenerateError::Template(_))));
    }
}
