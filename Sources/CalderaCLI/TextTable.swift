/// Rows of text in aligned columns.
struct TextTable {
    private var rows: [[String]] = []
    private let rightAligned: Set<Int>

    /// `rightAligned`: the columns that hold numbers.
    init(rightAligned: Set<Int> = []) {
        self.rightAligned = rightAligned
    }

    mutating func add(_ cells: String...) { rows.append(cells.map(\.onOneLine)) }

    /// The rows, one a line, two spaces between columns and `indentation` spaces before; none at the end of a line.
    func text(indentation: Int = 0) -> String {
        let widths = columnWidths()
        let margin = String(repeating: " ", count: indentation)
        return rows.map { margin + line($0, widths) }.joined(separator: "\n")
    }

    private func columnWidths() -> [Int] {
        rows.reduce(into: []) { widths, row in
            for (column, cell) in row.enumerated() {
                if column == widths.count { widths.append(0) }
                widths[column] = max(widths[column], cell.count)
            }
        }
    }

    private func line(_ row: [String], _ widths: [Int]) -> String {
        let cells = row.enumerated().map { column, cell in
            let padding = String(repeating: " ", count: widths[column] - cell.count)
            return rightAligned.contains(column) ? padding + cell : cell + padding
        }
        var line = cells.joined(separator: "  ")
        while line.last == " " { line.removeLast() }
        return line
    }
}
