import CalderaGraph
import Foundation

/// Where the pictures of one call go. Everything that can be wrong with a path is found when this is made, before
/// anything is computed.
struct OutputNaming {
    private enum Place {
        /// A file that the caller named, without its extension; replaced if it exists.
        case file(stem: String, extension: String)
        /// A folder, in which names are made of prompt and seed and never replace a file.
        case folder(String)
    }

    private let place: Place
    private let slug: String
    private let count: Int

    /// `output` is a file name that ends in `.png`, an existing folder, or nil for the current folder.
    /// Throws `CalderaError` (`.usage` for a name that is neither) when a picture could not be written there.
    init(_ output: String?, prompt: String, count: Int) throws {
        self.count = count
        slug = Self.slug(prompt)
        guard let output else {
            place = .folder("")
            try Self.checkFolder(".")
            return
        }
        if Self.isFolder(output) {
            place = .folder(output.hasSuffix("/") ? output : output + "/")
            try Self.checkFolder(output)
            return
        }
        guard let stem = Self.stem(of: output, extension: ".png") else {
            throw CalderaError.usage(
                "--output \(output) is neither a file name that ends in .png nor an existing folder.")
        }
        place = .file(stem: stem, extension: String(output.dropFirst(stem.count)))
        try Self.checkFolder(Self.folder(of: output))
    }

    /// The path of the picture `index` (from 0).
    func path(index: Int, seed: UInt64) -> String {
        switch place {
        case .file(let stem, let suffix):
            return count == 1 ? stem + suffix : "\(stem)-\(index + 1)\(suffix)"
        case .folder(let folder):
            let name = "\(folder)\(slug)-\(seed)"
            var path = name + ".png"
            var attempt = 1
            while Self.exists(path) {
                attempt += 1
                path = "\(name)-\(attempt).png"
            }
            return path
        }
    }

    /// Throws `CalderaError` when `--save-latents` could not be written there.
    static func checkLatents(_ path: String) throws {
        guard stem(of: path, extension: ".safetensors") != nil else {
            throw CalderaError.usage("--save-latents \(path) must end in .safetensors.")
        }
        try checkFolder(folder(of: path))
        try checkNotFolder(path)
    }

    /// Throws `CalderaError` when a preview could not be written there.
    static func checkPicture(_ path: String) throws {
        guard stem(of: path, extension: ".png") != nil else {
            throw CalderaError.usage("--preview-output \(path) must end in .png.")
        }
        try checkFolder(folder(of: path))
        try checkNotFolder(path)
    }

    // MARK: Names

    /// The prompt's words as a file name: letters and digits of any script, in lower case, joined by hyphens. A long
    /// one is cut to whole words within 80 bytes; a single longer word (some scripts write no spaces) is cut inside.
    private static func slug(_ prompt: String) -> String {
        let words = prompt.lowercased().split { !$0.isLetter && !$0.isNumber }
        let slug = shortened(words.joined(separator: "-"), bytes: 80)
        return slug.isEmpty ? "picture" : slug
    }

    private static func shortened(_ slug: String, bytes limit: Int) -> String {
        guard slug.utf8.count > limit else { return slug }
        var cut = ""
        for character in slug {
            guard cut.utf8.count + character.utf8.count <= limit else { break }
            cut.append(character)
        }
        guard let hyphen = cut.lastIndex(of: "-") else { return cut }
        return String(cut[..<hyphen])
    }

    /// The path without this extension (in any case); nil when it ends otherwise or has nothing before it.
    private static func stem(of path: String, extension suffix: String) -> String? {
        guard path.lowercased().hasSuffix(suffix) else { return nil }
        let stem = String(path.dropLast(suffix.count))
        return stem.isEmpty || stem.hasSuffix("/") ? nil : stem
    }

    private static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    // MARK: Checks

    /// Makes a file in the folder and removes it: the only question that every file system answers truly.
    private static func checkFolder(_ folder: String) throws {
        let shown = folder == "." ? "The current folder" : "The folder \(folder)"
        if !isFolder(folder), exists(folder) {
            throw CalderaError("\(shown) cannot be written to: it is not a folder.")
        }
        let name = ".caldera-\(ProcessInfo.processInfo.processIdentifier).partial"
        let probe = folder == "/" ? "/\(name)" : "\(folder)/\(name)"
        let descriptor = open(probe, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw CalderaError("\(shown) cannot be written to: \(reason(errno, folder)).") }
        close(descriptor)
        unlink(probe)
    }

    private static func reason(_ code: Int32, _ folder: String) -> String {
        guard code == ENOENT, !exists(folder) else { return String(cString: strerror(code)) }
        return "it does not exist. Create it first"
    }

    private static func checkNotFolder(_ path: String) throws {
        guard isFolder(path) else { return }
        throw CalderaError("\(path) cannot be written: it is a folder.")
    }

    private static func isFolder(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// True for anything of that name, a link that leads nowhere included.
    private static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }
}
