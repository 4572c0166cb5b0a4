/// This release of Caldera.
public enum CalderaVersion {
    public static let current = "0.1.0"
}
