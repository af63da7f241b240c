export { default as createDOMPurify } from 'dompurify'
export { default as MarkdownIt } from 'markdown-it'
