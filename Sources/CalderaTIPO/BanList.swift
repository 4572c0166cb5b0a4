import CalderaGraph

/// Tags that are never kept: those that contain one of some texts, or that one of them matches from the tag's start on
/// as a regular expression.
///
/// tipo-kgen takes Python's `re`; here the patterns are those of Swift's `Regex`, on Unicode scalars. What tags need is
/// written alike in both: literals, `.`, sets, `\w \d \s \b`, groups, alternatives, repetitions, looking ahead, `^ $`.
/// Named groups are `(?<name>...)`, and there is no `\Z` without a line break before the end.
package struct BanList {
    private let patterns: [(text: PythonText, expression: Regex<AnyRegexOutput>)]

    /// Throws a usage error when a pattern is no regular expression, or bans every tag.
    package init(_ patterns: [String]) throws {
        self.patterns = try patterns.map { pattern in
            guard let expression = try? Regex(pattern).matchingSemantics(.unicodeScalar) else {
                throw CalderaError.usage(
                    "The ban \"\(pattern)\" is not a regular expression: put a backslash before ( [ { + * ? | and the "
                        + "like if they are meant as they stand.")
            }
            guard !pattern.isEmpty, !Self.probes.allSatisfy({ Self.matches(expression, $0) }) else {
                throw CalderaError.usage("The ban \"\(pattern)\" matches every tag: make it narrower.")
            }
            return (PythonText(pattern), expression)
        }
    }

    package var isEmpty: Bool { patterns.isEmpty }

    package func bans(_ tag: PythonText) -> Bool {
        let string = tag.string
        return patterns.contains { text, expression in
            tag.contains(text) || Self.matches(expression, string)
        }
    }

    /// What matches all of these matches every tag: the empty text and each printable letter of ASCII.
    private static let probes = [""] + (0x20...0x7E).map { String(Unicode.Scalar(UInt8($0))) }

    /// Whether the expression matches from the start of the text on: Python's `re.match`.
    private static func matches(_ expression: Regex<AnyRegexOutput>, _ text: String) -> Bool {
        ((try? expression.prefixMatch(in: text)) ?? nil) != nil
    }
}
