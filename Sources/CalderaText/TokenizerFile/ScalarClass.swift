/// A set of Unicode scalars as a pattern names it.
struct ScalarClass: Sendable {
    indirect enum Member: Sendable {
        case scalar(Unicode.Scalar)
        case range(ClosedRange<UInt32>)
        case property(ScalarProperty)
        case set(ScalarClass)
    }

    var members: [Member] = []
    var isNegated = false
    /// Whether letters stand for both of their cases.
    var ignoresCase = false

    func contains(_ scalar: Unicode.Scalar) -> Bool { members.contains { has($0, scalar) } != isNegated }

    private func has(_ member: Member, _ scalar: Unicode.Scalar) -> Bool {
        switch member {
        case .scalar(let one): one == scalar || ignoresCase && one.folded == scalar.folded
        case .range(let range):
            range.contains(scalar.value) || ignoresCase && scalar.cases.contains { range.contains($0.value) }
        case .property(let property): property.contains(scalar)
        case .set(let set): set.contains(scalar)
        }
    }
}

/// A property of scalars with Oniguruma's tables, which are those of Unicode 16.
enum ScalarProperty: Sendable {
    case space
    case digit
    case word
    case categories(Set<Unicode.GeneralCategory>)
    case newline

    func contains(_ scalar: Unicode.Scalar) -> Bool {
        let properties = scalar.properties
        switch self {
        case .space: return properties.isWhitespace
        case .newline: return scalar == "\n"
        case .digit: return properties.generalCategory == .decimalNumber && scalar.isKnown(in: 16)
        case .word: return scalar.isPatternWordOfOniguruma
        case .categories(let categories):
            return categories.contains(properties.generalCategory)
                && (scalar.isASCII || scalar.isKnown(in: 16))
        }
    }

    /// General categories by their names in patterns: `L`, `Lu`, ...
    static func category(_ name: String) -> ScalarProperty? {
        let found = categories.filter { $0.key.hasPrefix(name) }.map(\.value)
        guard (1...2).contains(name.count), !found.isEmpty else { return nil }
        return .categories(Set(found))
    }

    private static let categories: [String: Unicode.GeneralCategory] = [
        "Lu": .uppercaseLetter, "Ll": .lowercaseLetter, "Lt": .titlecaseLetter, "Lm": .modifierLetter,
        "Lo": .otherLetter, "Mn": .nonspacingMark, "Mc": .spacingMark, "Me": .enclosingMark, "Nd": .decimalNumber,
        "Nl": .letterNumber, "No": .otherNumber, "Pc": .connectorPunctuation, "Pd": .dashPunctuation,
        "Ps": .openPunctuation, "Pe": .closePunctuation, "Pi": .initialPunctuation, "Pf": .finalPunctuation,
        "Po": .otherPunctuation, "Sm": .mathSymbol, "Sc": .currencySymbol, "Sk": .modifierSymbol, "So": .otherSymbol,
        "Zs": .spaceSeparator, "Zl": .lineSeparator, "Zp": .paragraphSeparator,
    ]
}

extension Unicode.Scalar {
    /// Whether a version of Unicode assigns the scalar.
    func isKnown(in version: Int, minor: Int = .max) -> Bool {
        if isASCII { return true }
        guard let age = properties.age else { return false }
        return (age.major, age.minor) <= (version, minor)
    }

    /// The one scalar that stands for all cases of a letter (simple folding).
    var folded: Unicode.Scalar { upper.lower }

    /// The scalar and its other cases that are single scalars.
    var cases: [Unicode.Scalar] { [self, upper, lower, folded] }

    /// `\w` of Rust's `regex`: letters, marks, digits, connectors and joiners.
    var isRustWord: Bool { isKnown(in: 16) && (isLetterLike || properties.isJoinControl) }

    /// `\w` of Oniguruma: it has no joiners, but the superscript digits and fractions of Latin-1.
    fileprivate var isPatternWordOfOniguruma: Bool {
        switch value {
        case 0xB2, 0xB3, 0xB9, 0xBC...0xBE: true
        default: isKnown(in: 16) && isLetterLike
        }
    }

    private var isLetterLike: Bool {
        if properties.isAlphabetic { return true }
        switch properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .spacingMark, .decimalNumber, .connectorPunctuation: return true
        default: return false
        }
    }

    private var upper: Unicode.Scalar { Self.single(properties.uppercaseMapping) ?? self }

    private var lower: Unicode.Scalar { Self.single(properties.lowercaseMapping) ?? self }

    private static func single(_ text: String) -> Unicode.Scalar? {
        text.unicodeScalars.count == 1 ? text.unicodeScalars.first : nil
    }
}
