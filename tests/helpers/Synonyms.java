import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.Tokenizer;
import org.apache.lucene.analysis.core.WhitespaceAnalyzer;
import org.apache.lucene.analysis.core.WhitespaceTokenizer;
import org.apache.lucene.analysis.synonym.SolrSynonymParser;
import org.apache.lucene.analysis.synonym.SynonymGraphFilter;
import org.apache.lucene.analysis.synonym.SynonymMap;
import org.apache.lucene.analysis.tokenattributes.CharTermAttribute;

/** Reads synonyms as Solr does, and prints what each query of a file becomes: its terms, separated by tabs. */
public class Synonyms {
    public static void main(String[] arguments) throws Exception {
        SolrSynonymParser parser = new SolrSynonymParser(true, true, new WhitespaceAnalyzer());
        try (Reader rules = Files.newBufferedReader(Paths.get(arguments[0]), StandardCharsets.UTF_8)) {
            parser.parse(rules);
        }
        SynonymMap map = parser.build();
        Analyzer analyzer = new Analyzer() {
            @Override
            protected TokenStreamComponents createComponents(String field) {
                Tokenizer tokenizer = new WhitespaceTokenizer();
                return new TokenStreamComponents(tokenizer, new SynonymGraphFilter(tokenizer, map, false));
            }
        };
        StringBuilder found = new StringBuilder();
        for (String query : Files.readAllLines(Paths.get(arguments[1]), StandardCharsets.UTF_8)) {
            try (TokenStream stream = analyzer.tokenStream("text", query)) {
                CharTermAttribute term = stream.addAttribute(CharTermAttribute.class);
                stream.reset();
                String separator = "";
                while (stream.incrementToken()) {
                    found.append(separator).append(term);
                    separator = "\t";
                }
                stream.end();
            }
            found.append("\n");
        }
        Files.write(Paths.get(arguments[2]), found.toString().getBytes(StandardCharsets.UTF_8));
    }
}
