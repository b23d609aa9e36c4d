//! A model opened to write text.

use std::path::{Path, PathBuf};

use rosaq_checkpoint::Checkpoint;
use rosaq_generate::{ChatTemplate, Generated, Message, Request, Sampler, generate};
use rosaq_model::SourceModel;
use rosaq_runtime::Backend;
use rosaq_text::{AddSpecial, Tokenizer};

use crate::resident::resident_model;
use crate::tokens::{chat_template_beside, source_chat_template, source_tokenizer};
use crate::{PipelineError, Place};

/// A model with its tokenizer and the template of its conversations.
#[derive(Debug)]
pub struct TextModel {
    model: Box<dyn Backend>,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    path: PathBuf,
}

impl TextModel {
    /// Opens a rosaq checkpoint (packed) or any source model (f16) at a place, all of it in memory there.
    ///
    /// # Errors
    /// Whatever is wrong with the model or its tokenizer.
    pub fn open(path: &Path, place: &Place) -> Result<Self, PipelineError> {
        let (tokenizer, template) = if Checkpoint::is_rosaq(path) {
            (Tokenizer::from_dir(path)?, chat_template_beside(path)?)
        } else {
            let source = SourceModel::open(path)?;
            (source_tokenizer(&source)?, source_chat_template(&source)?)
        };
        let model = resident_model(path, place)?;
        let template = template.map(ChatTemplate::new);
        Ok(Self { model, tokenizer, template, path: path.to_owned() })
    }

    /// The tokens of a plain text, with the special ones that the tokenizer adds.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn prompt(&self, text: &str) -> Result<Vec<u32>, PipelineError> {
        Ok(self.tokenizer.encode(text, AddSpecial::Yes)?)
    }

    /// The tokens of a conversation, up to where the assistant's answer begins.
    ///
    /// # Errors
    /// A model without a template, or one that fails.
    pub fn chat(&self, messages: &[Message]) -> Result<Vec<u32>, PipelineError> {
        let Some(template) = &self.template else {
            return Err(PipelineError::NoChatTemplate { path: self.path.clone() });
        };
        let text = |id: Option<u32>| id.and_then(|id| self.tokenizer.token(id)).unwrap_or_default();
        let (bos, eos) = (text(self.tokenizer.bos()), text(self.tokenizer.eos()));
        let text = template.render(messages, &bos, &eos)?;
        Ok(self.tokenizer.encode(&text, AddSpecial::No)?)
    }

    /// Goes on from a prompt; `emit` gets the text as it comes.
    ///
    /// # Errors
    /// As [`generate`].
    pub fn generate(
        &self,
        request: &Request<'_>,
        sampler: &mut Sampler,
        emit: &mut dyn FnMut(&str),
    ) -> Result<Generated, PipelineError> {
        Ok(generate(self.model.as_ref(), &self.tokenizer, request, sampler, emit)?)
    }
}
